"""Annotate: every unit goes through the stages as Ray Data actors, each commit a file in the ledger.

A row is a unit: references and what the stages said so far, never audio. What a stage has committed
before is read back and not run again, so a build that was stopped goes on where it was.
"""

import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline.cluster import Capacity, check_resources, cpu_share
from pipeline.inputs import Input
from pipeline.ledger import Ledger
from pipeline.models import resolve
from pipeline.plan import Plan, PlannedStage
from pipeline.source import SpooledAudio, scratch_folder
from pipeline.storage import Store
from schemas.arrow import from_row, schema_of, to_row
from schemas.errors import DataError, SetupError
from schemas.recording import COLUMNS, STAGES, Decode, Problem, Recording, Unit

LARGEST_SIDECAR = 1_000_000
"""Bytes; a sidecar says things about a recording, it is no data set."""


@dataclass(frozen=True)
class StageTime:
    stage: str
    wall: float
    """Seconds that the actor was busy with the unit."""
    cpu: float
    """CPU seconds of its process meanwhile."""


@dataclass(frozen=True)
class Committed:
    """The files of one stage that hold a unit already."""

    stage: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class UnitRow:
    """What flows through Ray Data."""

    unit: str
    inputs: tuple[Input, ...]
    recordings: tuple[Recording, ...]
    committed: tuple[Committed, ...]
    again: tuple[str, ...]
    """Recordings to run although they are committed."""
    retry: int
    """0, or the number of this attempt at what was set aside."""
    times: tuple[StageTime, ...]


@dataclass(frozen=True)
class UnitDone:
    """What the driver learns of a unit."""

    unit: str
    audio_seconds: float
    times: tuple[StageTime, ...]


def annotate(plan: Plan, rows: list[UnitRow], capacity: Capacity, board: Any) -> Iterator[UnitDone]:
    """Run the `pending` rows; yields each unit as its last stage commits. Ray must be running.

    The stages report to `board`, a `progress.Board` actor, as they go.
    """
    import ray

    check_resources(plan.stages, capacity)
    share = cpu_share(plan.stages, capacity)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
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
                board,
                stage.name in warm,
            ),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=stage.resources.cpus * share,
            num_gpus=stage.resources.gpus or None,
            compute=ray.data.ActorPoolStrategy(
                min_size=stage.resources.actors[0], max_size=stage.resources.actors[1]
            ),
            runtime_env={"env_vars": _environment(stage)},
            # A worker that dies is started again and its unit tried again; without bounds, for ever.
            max_restarts=WORKER_DEATHS,
            max_task_retries=WORKER_DEATHS,
        )
    for batch in units.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
        for row in batch.to_pylist():
            yield from_row(UnitDone, row)


def _to_run(row: UnitRow, stage: str) -> bool:
    return bool(row.again) or all(committed.stage != stage for committed in row.committed)


WORKER_DEATHS = 3
"""How often an actor may die, and a unit lose its actor, before the build stops."""

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


class StageActor:
    """One stage at work: reads what is committed, runs what is not, commits it."""

    def __init__(
        self,
        stage: PlannedStage,
        decode: PlannedStage,
        dataset: str,
        scratch: str | None,
        board: Any,
        warm: bool,
    ) -> None:
        """`warm` loads the models at once, while other stages load theirs, not with the first unit."""
        self.planned = stage
        self.board = board
        self.ledger = Ledger(Store(dataset))
        self.audio = SpooledAudio(scratch_folder(scratch), decode.config, decode.fingerprint)  # type: ignore[arg-type]
        self.stage: Any = None
        if warm:
            with self._telling():
                self._load()

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = [from_row(UnitRow, row) for row in batch.to_pylist()]
        with self._telling():
            done: list[Any] = [self._unit(row) for row in rows]
        last = self.planned.name == STAGES[-1]
        if last:
            done = [UnitDone(row.unit, _seconds(row.recordings), row.times) for row in done]
        schema = schema_of(UnitDone if last else UnitRow)
        return pa.Table.from_pylist([to_row(row) for row in done], schema=schema)

    def _unit(self, row: UnitRow) -> UnitRow:
        """The unit with this stage's column: read where it is committed, else run and committed."""
        name = self.planned.name
        known = self.ledger.read(name, next((c.files for c in row.committed if c.stage == name), ()))
        before = [self._listed(item, known) for item in row.inputs] if name == STAGES[0] else row.recordings
        found = {r.id: _with_column(r, name, known[r.id]) for r in before if r.id in known}
        todo = tuple(r for r in before if r.id not in found or r.id in row.again)
        wall, cpu = time.monotonic(), time.process_time()
        if todo:
            made = self._run(Unit(row.unit, todo)).recordings
            changed = [r for r in made if found.get(r.id) != r]
            if changed:
                self.ledger.write(name, self.planned.fingerprint, row.unit, changed, row.retry)
            found |= {r.id: r for r in made}
        if name == STAGES[-1]:
            for recording in todo:
                self.audio.drop(recording)
        spent = StageTime(name, time.monotonic() - wall, time.process_time() - cpu)
        recordings = tuple(found[r.id] for r in before)
        set_aside = sum(1 for r in recordings for stage, p in r.problems if stage == name and p.turn is None)
        self.board.add.remote(name, _seconds(recordings), spent.wall, set_aside)
        return replace(row, recordings=recordings, times=(*row.times, spent))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell the board what is wrong with the set-up: on its way an exception loses its type."""
        import ray

        try:
            yield
        except SetupError as error:
            ray.get(self.board.stop.remote(f"{self.planned.name}: {error}"))
            raise

    def _load(self) -> None:
        models = {model.reference: resolve(model.reference).path for model in self.planned.models}
        threads = max(1, min(int(self.planned.resources.cpus), len(os.sched_getaffinity(0))))
        stage = self.planned.type(self.planned.config, self.audio, models, threads)
        stage.setup()
        self.stage = stage
        self.board.ready.remote(self.planned.name)

    def _run(self, unit: Unit) -> Unit:
        if self.stage is None:
            self._load()
        unit = self.stage(unit)
        return Unit(unit.id, tuple(_check_sidecar(r) for r in unit.recordings))

    def _listed(self, item: Input, known: dict[str, dict[str, Any]]) -> Recording:
        """The record of a listed file, with the text of its sidecar."""
        if item.id in known:
            return item.recording(known[item.id]["sidecar"])
        if item.sidecar is None:
            return item.recording("{}")
        try:
            return item.recording(self.audio.text(item.sidecar.uri))
        except DataError as error:
            return item.recording(f"{item.sidecar.uri.rpartition('/')[2]}: {error}")


def _with_column(recording: Recording, stage: str, row: dict[str, Any]) -> Recording:
    column = COLUMNS[stage]
    return replace(recording, **{stage: from_row(column, row[stage])})


def _check_sidecar(recording: Recording) -> Recording:
    """A sidecar that can't be read sets its recording aside: it may say what must not be done with it."""
    try:
        if len(recording.sidecar) > LARGEST_SIDECAR:
            raise ValueError(f"it has over {LARGEST_SIDECAR:,} characters")
        if not isinstance(json.loads(recording.sidecar), dict):
            raise ValueError("it holds no object")
    except ValueError as error:
        problem = Problem("bad_sidecar", f"the JSON file beside the recording can't be used: {error}")
        return replace(recording, sidecar="{}", decode=Decode(None, (problem,)))
    return recording


def _seconds(recordings: tuple[Recording, ...]) -> float:
    return sum(r.decode.result.seconds for r in recordings if r.decode and r.decode.result)
