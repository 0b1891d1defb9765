"""Annotate: every unit goes through the stages as Ray Data actors, each commit a file in the ledger.

Ray Data hands the rows from pool to pool and starts workers again that died; what a death or a standstill
means is decided in `deaths` and `watch`.
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
    plan: Plan, rows: list[UnitRow], requests: dict[str, Capacity], watch: Any
) -> Iterator[UnitDone]:
    """Run the `pending` rows; yields each unit as its last stage commits. Ray must be running.

    The stages ask for what `requests` says and report to `watch`, a `watch.Supervisor` actor, as they go.
    """
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A long recording may take a worker hours; whether it computes, Ray Data doesn't ask.
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
                watch,
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
    # One thread an operation: recordings run beside each other instead, and results stay the same.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYANNOTE_METRICS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
}


def _environment(stage: PlannedStage) -> dict[str, str]:
    """Of a stage's workers: without a share of a GPU they see none, whatever the machine has."""
    return WORKER_ENVIRONMENT if stage.resources.gpus else WORKER_ENVIRONMENT | {"CUDA_VISIBLE_DEVICES": ""}


def pending(plan: Plan, retry: bool) -> list[UnitRow]:
    """A row for each unit that some stage has not committed, or that holds what is to be tried again."""
    ledger = Ledger(plan.dataset)
    committed = plan.committed()
    rows = []
    for unit in plan.units:
        files = {stage: found[unit.name] for stage, found in committed.items() if unit.name in found}
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


def failed(recording: Recording) -> bool:
    """Whether trying again could help: the recording is out, or a model stage lost one of its turns.

    One without a problem and without turns is left from a second try that was stopped between two stages.
    """
    lost = any(stage in STAGES[2:] for stage, _ in recording.problems)
    return recording.set_aside or lost or not recording.turns
