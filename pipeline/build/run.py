"""A build from end to end: plan, annotate, pack, publish."""

import json
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from pipeline.annotate.run import annotate, pending
from pipeline.annotate.stage_actor import UnitRow
from pipeline.annotate.supervisor import beside_the_driver, guarded
from pipeline.build.publish import publish, published_as
from pipeline.cluster.ray import alive_nodes, requests, running
from pipeline.monitoring.progress import Display
from pipeline.monitoring.recorder import BuildRecorder
from pipeline.monitoring.stage_times import Timetable, timetable
from pipeline.pack.groups import Group, each_group
from pipeline.pack.run import Packed, groups_of, pack_group, pack_pairs
from pipeline.planning.plan import Plan
from pipeline.versions.leases import leased
from schemas.errors import SetupError
from schemas.manifest import Manifest

Clock = defaultdict[str, float]
"""Seconds by stage and phase."""


@dataclass(frozen=True)
class Built:
    manifest: Manifest
    status: str
    """`published`, `unchanged` (the same outputs were there) or `nothing new` (the plan was known)."""
    seconds: dict[str, float]
    """Wall seconds of each stage's actors and of each phase; empty where nothing ran."""
    table: Timetable | None = None


def build(plan: Plan, retry: bool = False, account: BuildRecorder | None = None) -> Built:
    """Run a plan. Raises SetupError; what was committed before that is kept and not run again."""
    account = account or BuildRecorder()
    account.log.say("started", plan=plan.id, dataset=plan.dataset.uri, units=len(plan.units))
    try:
        built = _build(plan, retry, account)
    except SetupError as error:
        account.log.say("stopped", message=str(error))
        raise
    account.log.say("ended", status=built.status, version=built.manifest.version, seconds=built.seconds)
    return built


def _build(plan: Plan, retry: bool, account: BuildRecorder) -> Built:
    known = published_as(plan)
    if known and not retry:
        found = plan.dataset.get(f"versions/{known}/manifest.json")
        return Built(Manifest.model_validate_json(found), "nothing new", {})
    # Behind the answer that nothing is new, which must come at once: this import takes seconds.
    from pipeline.report import pages

    plan.dataset.check_writable()
    started = datetime.now(UTC)
    clock: Clock = defaultdict(float)
    with _timed(clock, "total"), leased(plan.dataset):
        rows = pending(plan, retry)
        if rows:
            _annotate(plan, rows, clock, account)
        with _timed(clock, "pack"):
            packed = _pack(plan, groups_of(plan))
            if (pairs := pack_pairs(plan)) is not None:
                packed.append(pairs)
        with _timed(clock, "publish"):
            manifest, new = publish(plan, packed, pages(plan))
    seconds = {name: round(value, 3) for name, value in clock.items()}
    table = timetable(account.work, clock, account.cpus)
    _record(plan, manifest.version, started, seconds, table)
    return Built(manifest, "published" if new else "unchanged", seconds, table)


def _annotate(plan: Plan, rows: list[UnitRow], clock: Clock, account: BuildRecorder) -> None:
    import ray

    names = [stage.name for stage in plan.stages]
    wanted = {item.id: item for row in rows for item in row.inputs}
    display = Display(sum(plan.estimate.seconds_of(item) for item in wanted.values()), names)
    display.say(
        f"annotating {len(wanted)} recordings in {len(rows)} units, {len(plan.units) - len(rows)} done before"
    )
    done = 0
    stall = plan.recipe.resources.stall_minutes * 60
    with _timed(clock, "start"):
        context = running()
        context.__enter__()
    try:
        asked = requests(plan.stages, list(alive_nodes().values()))
        watch = beside_the_driver()
        watch.expect.remote(len(rows), names)
        began = time.time()
        with (
            _timed(clock, "annotate"),
            display.watching(watch),
            account.following(watch),
            guarded(watch, plan.stages, asked, stall),
        ):
            for unit in annotate(plan, rows, asked, watch):
                done += 1
                for spent in unit.times:
                    clock[spent.stage] += spent.wall
        # Of `annotate`: until the workers of every stage that ran had their models.
        clock["load"] = max(ray.get(watch.ready_at.remote()).values(), default=began) - began
    except SetupError:
        raise
    except (KeyboardInterrupt, Exception) as error:
        if _interrupted(error):
            raise SetupError(
                f"stopped: {done} of {len(rows)} units are committed whole; the same command goes on from "
                "there"
            ) from None
        if isinstance(error, ray.exceptions.RayError):
            raise SetupError(f"annotate stopped: {str(error).strip()[-1000:]}") from error
        raise
    finally:
        context.__exit__(None, None, None)


def _interrupted(error: BaseException | None) -> bool:
    """Whether somebody stopped the build: what Ray was doing then may end in an error of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _pack(plan: Plan, groups: list[Group]) -> list[Packed]:
    arguments = (plan.recipe, plan.dataset, plan.stages[0].fingerprint)
    return each_group(groups, lambda group: pack_group(group, *arguments))


def _record(plan: Plan, version: str, started: datetime, seconds: dict[str, float], table: Timetable) -> None:
    """A file of this run beside the versions: times belong to runs, versions have none."""
    run = {
        "plan": plan.id,
        "version": version,
        "started": started.isoformat(timespec="seconds"),
        "host": {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()},
        "seconds": seconds,
        "stages": asdict(table),
    }
    name = f"runs/{started:%Y%m%dT%H%M%S}-{plan.id}.json"
    plan.dataset.put_new(name, (json.dumps(run, indent=1) + "\n").encode())


@contextmanager
def _timed(clock: Clock, name: str) -> Iterator[None]:
    begun = time.monotonic()
    try:
        yield
    finally:
        clock[name] += time.monotonic() - begun
