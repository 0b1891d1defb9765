"""The share done and the time left of simulated builds."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from pipeline.monitoring.progress import ProgressActor, UnitReport
from pipeline.monitoring.time_left import TimeLeft

STAGES = ["decode", "diarize", "transcribe", "quality", "tokenize"]
TICK = 0.5
"""Seconds."""


@dataclass
class Running:
    stage: str
    unit: int
    cpu: float
    """CPU seconds left."""
    gpu: float
    began: float
    process: int


@dataclass(frozen=True)
class Machine:
    """CPU and GPU seconds per hour of audio of each stage, and the number of its workers."""

    cores: float
    cpu: tuple[float, ...]
    gpu: tuple[float, ...] = (0, 0, 0, 0, 0)
    workers: tuple[int, ...] = (1, 1, 1, 1, 1)
    loading: float = 20.0


DEFAULT = (13, 125, 957, 496, 103)
MACHINES = {
    "two cores": Machine(2, DEFAULT),
    "many cores": Machine(64, DEFAULT),
    "diarize is the slowest": Machine(2, (50, 900, 300, 200, 100)),
    "the last stage is the slowest": Machine(8, (50, 100, 300, 200, 900)),
    "several workers": Machine(16, DEFAULT, workers=(1, 1, 6, 3, 1)),
    "a GPU": Machine(32, (13, 1, 2, 300, 1), (0, 6, 24, 0, 9), (1, 1, 1, 30, 1)),
}


class NoMeters:
    def add(self, name, value, **tags): ...
    def set(self, name, value, **tags): ...


class Progress(ProgressActor):
    busy = 1

    def busy_workers(self):
        return self.busy


def simulate(
    machine: Machine, units: list[float], cost: list[float]
) -> Iterator[tuple[float, int, list[UnitReport]]]:
    """Each tick of a build of units of some audio seconds: the time, busy workers, and arriving reports.

    Workers of the same machine share its cores. `cost` scales the seconds of each unit.
    """
    waiting: dict[str, list[int]] = {stage: [] for stage in STAGES}
    waiting["decode"] = list(range(len(units)))
    idle = {stage: list(range(machine.workers[n])) for n, stage in enumerate(STAGES)}
    running: list[Running] = []
    now, done = 0.0, 0
    while done < len(units):
        for n, stage in enumerate(STAGES):
            while now >= machine.loading and waiting[stage] and idle[stage]:
                unit = waiting[stage].pop(0)
                hours = units[unit] * cost[unit] / 3600
                process = idle[stage].pop(0)
                running.append(
                    Running(stage, unit, hours * machine.cpu[n], hours * machine.gpu[n], now, process)
                )
        share = min(1.0, machine.cores / max(1, sum(work.cpu > 0 for work in running)))
        for work in running:
            if work.cpu > 0:
                work.cpu -= TICK * share
            else:
                work.gpu -= TICK
        now += TICK
        reports = []
        for work in [work for work in running if work.cpu <= 0 and work.gpu <= 0]:
            running.remove(work)
            idle[work.stage].append(work.process)
            reports.append(report(f"unit{work.unit}", work.stage, now - work.began, now, work.process))
            following = STAGES.index(work.stage) + 1
            if following < len(STAGES):
                waiting[STAGES[following]].append(work.unit)
            else:
                done += 1
        yield now, len(running) + len(reports), reports


def report(unit: str, stage: str, seconds: float, at: float, process: int = 0) -> UnitReport:
    return UnitReport(unit, stage, 1, 1, 300.0, seconds, seconds, 0, {}, 0, 0, 0.0, stage, process, at)


def follow(machine: Machine, count: int, seed: int):
    """(time, share done, seconds left or None) at every tick, and when the build ended."""
    random_ = random.Random(seed)
    units = [300 * random_.lognormvariate(0, 0.4) for _ in range(count)]
    cost = [random_.lognormvariate(0, 0.15) for _ in range(count)]
    work = {f"unit{n}": dict.fromkeys(STAGES, seconds) for n, seconds in enumerate(units)}
    progress, left = Progress(meters=NoMeters()), TimeLeft(work, STAGES, machine.cores)
    progress.expect(work, STAGES, machine.cores)
    seen, now = [], 0.0
    for now, progress.busy, reports in simulate(machine, units, cost):
        for each in reports:
            progress.report(each)
        tallies = progress.read()
        seen.append((now, left.share(tallies), left.seconds(tallies, now)))
    return seen, now


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("two cores", 12),
        ("two cores", 60),
        ("many cores", 60),
        ("diarize is the slowest", 60),
        ("the last stage is the slowest", 60),
        ("several workers", 60),
        ("a GPU", 200),
    ],
)
def test_the_estimate_is_right_from_the_moment_it_is_shown(name, count, seed):
    machine = MACHINES[name]
    seen, end = follow(machine, count, seed)
    shown = [(now, left) for now, _, left in seen if left is not None]
    assert shown[0][0] < 0.55 * end, "an estimate is shown in time"
    # Work is counted in whole units, so the time of a large unit (twice the mean) can't be resolved.
    unit = 2 * 300 * (sum(machine.cpu) + sum(machine.gpu)) / 3600
    wrong = [(now, left) for now, left in shown if abs(left - (end - now)) > max(0.25 * (end - now), unit)]
    assert wrong == []
    assert all(later <= 1.25 * earlier + unit for (_, earlier), (_, later) in pairwise(shown))


def test_the_share_done_grows_from_the_first_unit_to_one():
    seen, _ = follow(MACHINES["two cores"], 12, seed=0)
    shares = [share for _, share, _ in seen]
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1)
    decoded = next(share for share in shares if share)
    assert 0 < decoded < 0.01, "one decoded unit of twelve is little work"


def test_measured_costs_replace_the_known_ones():
    work = {f"unit{n}": {"decode": 300.0, "transcribe": 300.0} for n in range(2)}
    progress, left = Progress(meters=NoMeters()), TimeLeft(work, STAGES, cpus=2)
    progress.expect(work, STAGES, cpus=2)
    progress.report(report("unit0", "decode", seconds=30, at=30))
    assert left.share(progress.read()) == pytest.approx(0.5 * 13 / (13 + 957))
    progress.report(report("unit0", "transcribe", seconds=10, at=40))
    assert left.share(progress.read()) == pytest.approx(0.5)
    progress.report(report("unit1", "decode", seconds=30, at=60))
    assert left.share(progress.read()) == pytest.approx((2 * 30 + 10) / (2 * 30 + 2 * 10))


def test_what_was_committed_before_is_no_work():
    work = {"unit0": {}, "unit1": {"tokenize": 60.0}}
    progress, left = Progress(meters=NoMeters()), TimeLeft(work, STAGES, cpus=2)
    progress.expect(work, STAGES, cpus=2)
    for stage in STAGES:
        progress.report(report("unit0", stage, seconds=0.1, at=1))
    assert left.share(progress.read()) == 0
    progress.report(report("unit1", "tokenize", seconds=5, at=6))
    assert left.share(progress.read()) == 1
