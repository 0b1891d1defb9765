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

from pipeline.annotate.run import annotate, pending, work_of
from pipeline.annotate.stage_actor import UnitRow
from pipeline.annotate.supervisor import beside_the_driver, guarded
from pipeline.build.plan_records import published_as
from pipeline.build.publish import publish
from pipeline.cluster.ray import alive_nodes, requests, running
from pipeline.monitoring.display import BuildDisplay, message
from pipeline.monitoring.recorder import BuildRecorder
from pipeline.monitoring.stage_times import Timetable, timetable
from pipeline.pack.groups import Group, each_group
from pipeline.pack.packed_group import PackedGroup
from pipeline.pack.run import decided_groups, pack_group, pack_pairs
from pipeline.planning.plan import Plan
from pipeline.storage import dataset_layout as layout
from pipeline.versions.leases import leased
from schemas.errors import SetupError
from schemas.manifest import Manifest

Clock = defaultdict[str, float]
"""Stage or phase -> seconds."""


@dataclass(frozen=True)
class Built:
    manifest: Manifest
    status: str
    """`published`, `unchanged` (the outputs existed already) or `nothing new` (so did the plan)."""
    seconds: dict[str, float]
    """Wall seconds of each stage's actors and of each phase; empty if nothing ran."""
    table: Timetable | None = None


def build(plan: Plan, retry: bool = False, recorder: BuildRecorder | None = None) -> Built:
    """Run a plan. Raises SetupError; work that was committed before it is kept and not repeated."""
    recorder = recorder or BuildRecorder()
    recorder.log.write("started", plan=plan.id, dataset=plan.dataset.uri, units=len(plan.units))
    try:
        built = _build(plan, retry, recorder)
    except SetupError as error:
        recorder.log.write("stopped", message=str(error))
        raise
    recorder.log.write("ended", status=built.status, version=built.manifest.version, seconds=built.seconds)
    return built


def _build(plan: Plan, retry: bool, recorder: BuildRecorder) -> Built:
    published = None if retry else published_as(plan)
    if published:
        manifest_json = plan.dataset.get(layout.manifest(published))
        return Built(Manifest.model_validate_json(manifest_json), "nothing new", {})
    # Imported here because it takes seconds, and "nothing new" must be reported at once.
    from pipeline.report.pages import pages

    plan.dataset.check_writable()
    if parts := plan.dataset.folders(layout.PARTITIONS):
        raise SetupError(
            f"{plan.dataset.uri} has {len(parts)} partitions: give the recipe another `name`, or its "
            "`partitions` back"
        )
    recorder.start()
    started = datetime.now(UTC)
    clock: Clock = defaultdict(float)
    with _timed(clock, "total"), leased(plan.dataset):
        rows = pending(plan, retry)
        if rows:
            _annotate(plan, rows, clock, recorder)
        with _timed(clock, "pack"):
            groups, kept = decided_groups(plan)
            packed = _pack(plan, groups)
            if (pairs := pack_pairs(plan)) is not None:
                packed.append(pairs)
        with _timed(clock, "publish"):
            manifest, new = publish(plan, packed, pages(plan), kept)
    seconds = {name: round(value, 3) for name, value in clock.items()}
    table = timetable(recorder.work, clock, recorder.cpus)
    _record(plan, manifest.version, started, seconds, table)
    return Built(manifest, "published" if new else "unchanged", seconds, table)


def annotate_alone(plan: Plan, retry: bool = False, recorder: BuildRecorder | None = None) -> None:
    """The first part of a build, for a plan that can't be packed yet. Raises SetupError as `build` does."""
    recorder = recorder or BuildRecorder()
    plan.dataset.check_writable()
    recorder.start()
    with leased(plan.dataset):
        if rows := pending(plan, retry):
            _annotate(plan, rows, defaultdict(float), recorder)


def _annotate(plan: Plan, rows: list[UnitRow], clock: Clock, recorder: BuildRecorder) -> None:
    import ray

    names = [stage.name for stage in plan.stages]
    recordings = {item.id for row in rows for item in row.inputs}
    message(
        f"annotating {len(recordings)} recordings in {len(rows)} units; "
        f"{len(plan.units) - len(rows)} units are done already"
    )
    done = 0
    resources = plan.recipe.resources
    with _timed(clock, "start"):
        context = running(resources.worker_niceness, on_progress=message)
        cluster = context.__enter__()
    try:
        capacities = requests(plan.stages, list(alive_nodes().values()))
        supervisor = beside_the_driver()
        work = work_of(plan, rows)
        supervisor.expect.remote(work, names, cluster.cpus)
        display = BuildDisplay(work, names, cluster.cpus)
        began = time.time()
        with (
            _timed(clock, "annotate"),
            display.following(supervisor),
            recorder.following(supervisor),
            guarded(supervisor, plan.stages, capacities, resources.stall_minutes * 60),
        ):
            for unit in annotate(plan, rows, capacities, supervisor):
                done += 1
                for spent in unit.times:
                    clock[spent.stage] += spent.wall
        # Part of `annotate`: until the workers of every stage that ran had loaded their models.
        clock["load"] = max(ray.get(supervisor.ready_at.remote()).values(), default=began) - began
    except SetupError:
        raise
    except (KeyboardInterrupt, Exception) as error:
        if _interrupted(error):
            raise SetupError(
                f"stopped: {done} of {len(rows)} units are committed; run the same command again to resume"
            ) from None
        if isinstance(error, ray.exceptions.RayError):
            raise SetupError(f"annotate stopped: {str(error).strip()[-1000:]}") from error
        raise
    finally:
        context.__exit__(None, None, None)


def _interrupted(error: BaseException | None) -> bool:
    """Whether the build was interrupted; Ray may raise an error of its own as a result."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _pack(plan: Plan, groups: list[Group]) -> list[PackedGroup]:
    arguments = (plan.recipe, plan.dataset, plan.stages[0].fingerprint)
    return each_group(groups, lambda group: pack_group(group, *arguments))


def _record(plan: Plan, version: str, started: datetime, seconds: dict[str, float], table: Timetable) -> None:
    """Write the record of this run: times belong to runs, so that versions are reproducible."""
    run = {
        "plan": plan.id,
        "version": version,
        "started": started.isoformat(timespec="seconds"),
        "host": {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()},
        "seconds": seconds,
        "stages": asdict(table),
    }
    plan.dataset.put_new(layout.run(started, plan.id), (json.dumps(run, indent=1) + "\n").encode())


@contextmanager
def _timed(clock: Clock, name: str) -> Iterator[None]:
    start = time.monotonic()
    try:
        yield
    finally:
        clock[name] += time.monotonic() - start
