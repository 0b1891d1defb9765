"""Where the time of a build went, stage by stage, and what limited its speed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BUSY = 0.8
"""Share of the time above which a worker or the processors count as the bottleneck."""

PHASES = ("pack", "publish")


@dataclass(frozen=True)
class StageRow:
    stage: str
    seconds: float
    """Busy seconds, summed over workers."""
    cpu_seconds: float
    share: float
    """Share of the seconds of all stages and phases."""
    hours_an_hour: float | None
    """Audio hours that one worker computes per hour; None for a phase."""


@dataclass(frozen=True)
class StageWork:
    """What the workers of a stage did, summed over them."""

    seconds: float
    cpu_seconds: float
    audio_seconds: float
    workers: int


@dataclass(frozen=True)
class Timetable:
    rows: tuple[StageRow, ...]
    bound: str
    """What limited the speed, in words."""


def timetable(work: Mapping[str, StageWork], clock: Mapping[str, float], cpus: float) -> Timetable:
    """`clock` holds the wall seconds of `annotate`, of `load` (a part of it), of `pack` and of `publish`;
    `cpus` is the number in the cluster."""
    spent = {name: done.seconds for name, done in work.items()} | {p: clock.get(p, 0.0) for p in PHASES}
    whole = sum(spent.values()) or 1.0
    rows = []
    for name, seconds in spent.items():
        done = work.get(name)
        rate = done.audio_seconds / done.seconds if done and done.seconds and done.audio_seconds else None
        rows.append(StageRow(name, seconds, done.cpu_seconds if done else seconds, seconds / whole, rate))
    return Timetable(tuple(rows), _bound(work, clock, cpus))


def _bound(work: Mapping[str, StageWork], clock: Mapping[str, float], cpus: float) -> str:
    load, window = clock.get("load", 0.0), clock.get("annotate", 0.0) - clock.get("load", 0.0)
    packing = sum(clock.get(phase, 0.0) for phase in PHASES)
    if packing > load + max(0.0, window):
        return "pack and publish: they took longer than annotate"
    if load > window:
        return f"loading models: {load:.0f} s of {load + max(0.0, window):.0f} s of annotate"
    processors = sum(done.cpu_seconds for done in work.values()) / (cpus * window)
    longest = max(work, key=lambda name: work[name].seconds / work[name].workers)
    busy = work[longest].seconds / (work[longest].workers * window)
    hungriest = max(work, key=lambda name: work[name].cpu_seconds)
    if processors > BUSY:
        return f"processors: {min(1.0, processors):.0%} of {cpus:g} were busy, most with {hungriest}"
    if busy > BUSY:
        workers = work[longest].workers
        return (
            f"{longest}: {workers} worker{'s' * (workers > 1)}, busy {min(1.0, busy):.0%} of the time, "
            f"{processors:.0%} of {cpus:g} processors; give it more actors"
        )
    return (
        f"too few units to fill the stages: the busiest, {longest}, worked {busy:.0%} of the time, "
        f"{processors:.0%} of {cpus:g} processors were busy"
    )


def lines(table: Timetable) -> Iterable[str]:
    """The table as lines of text."""
    yield f"  {'stage':<11}{'seconds':>10}{'share':>8}{'audio hours per hour':>22}"
    for row in table.rows:
        rate = f"{row.hours_an_hour:,.1f} per worker" if row.hours_an_hour is not None else ""
        yield f"  {row.stage:<11}{row.seconds:>10,.1f}{row.share:>8.1%}{rate:>22}"
    yield f"  bounded by  {table.bound}"
