"""Annotate: every unit passes through the stages as Ray Data actors, and each commit is a file in the ledger.

Ray Data passes the rows from pool to pool and restarts workers that died. How deaths and stalls are handled
is in `ledger.worker_deaths` and `annotate.supervisor`.
"""

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.annotate.stage_actor import Committed, StageActor, UnitDone, UnitRow
from pipeline.cluster.ray import Capacity
from pipeline.ledger.annotations import Ledger
from pipeline.planning.plan import Plan, PlannedStage
from schemas.arrow import from_row, schema_of, to_row
from schemas.recording import STAGES, Recording


def annotate(
    plan: Plan, rows: list[UnitRow], requests: dict[str, Capacity], supervisor: Any
) -> Iterator[UnitDone]:
    """Run the `pending` rows; yields each unit when its last stage has committed it. Ray must be running.

    A worker of each stage requests `requests[stage]`, and reports to `supervisor`, an actor of
    `annotate.supervisor.Supervisor`.
    """
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A long recording may take a worker hours, and Ray Data doesn't know whether it computes: see `guarded`.
    context.execution_no_progress_timeout_s = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # Ray is pinned below the release that renames these arguments.
    warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
    warm = {stage.name for stage in plan.stages if any(_to_run(row, stage.name) for row in rows)}
    table = pa.Table.from_pylist([to_row(row) for row in rows], schema=schema_of(UnitRow))
    blocks = [table.slice(index, 1) for index in range(len(rows))]
    units: Any = ray.data.from_arrow(blocks)
    for stage in plan.stages:
        units = units.map_batches(
            StageActor,
            fn_constructor_args=(
                stage,
                plan.stages[0],
                plan.dataset.uri,
                plan.recipe.scratch,
                supervisor,
                stage.name in warm,
            ),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=requests[stage.name].cpus,
            num_gpus=requests[stage.name].gpus or None,
            memory=requests[stage.name].memory_gb * 1e9,
            compute=ray.data.ActorPoolStrategy(
                min_size=stage.resources.actors[0], max_size=stage.resources.actors[1]
            ),
            runtime_env={"env_vars": _environment(stage)},
        )
    for batch in units.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
        for row in batch.to_pylist():
            yield from_row(UnitDone, row)


def _to_run(row: UnitRow, stage: str) -> bool:
    return bool(row.again) or all(committed.stage != stage for committed in row.committed)


WORKER_ENVIRONMENT = {
    # One thread per operation: recordings run in parallel instead, and results don't depend on the machine.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYANNOTE_METRICS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
}


def _environment(stage: PlannedStage) -> dict[str, str]:
    """The environment of a stage's workers: those that hold no share of a GPU see none."""
    return WORKER_ENVIRONMENT if stage.resources.gpus else WORKER_ENVIRONMENT | {"CUDA_VISIBLE_DEVICES": ""}


def pending(plan: Plan, retry: bool) -> list[UnitRow]:
    """A row for each unit that some stage has not committed, or with recordings to retry."""
    ledger = Ledger(plan.dataset)
    committed = plan.committed()
    rows = []
    for unit in plan.units:
        files = {stage: units[unit.name] for stage, units in committed.items() if unit.name in units}
        again: tuple[str, ...] = ()
        if len(files) == len(plan.stages):
            if retry:
                again = tuple(r.id for r in ledger.recordings(files) if failed(r))
            if not again:
                continue
        attempt = max(len(paths) for paths in files.values()) if again else 0
        done = tuple(Committed(stage, tuple(paths)) for stage, paths in files.items())
        rows.append(UnitRow(unit.name, unit.recordings, (), done, again, attempt, ()))
    return rows


def work_of(plan: Plan, rows: list[UnitRow]) -> dict[str, dict[str, float]]:
    """Unit -> stage -> estimated audio seconds that the stage has to run; stages with none are left out."""
    work = {}
    for row in rows:
        seconds = sum(plan.estimate.seconds_of(i) for i in row.inputs if not row.again or i.id in row.again)
        work[row.unit] = {stage.name: seconds for stage in plan.stages if _to_run(row, stage.name)}
    return work


def failed(recording: Recording) -> bool:
    """Whether a retry could help: the recording was set aside, or a model stage lost one of its turns.

    A recording without problems and without turns is left over from a retry that was stopped between stages.
    """
    lost = any(stage in STAGES[2:] and problem.line is None for stage, problem in recording.problems)
    return recording.set_aside or lost or not recording.turns
