"""A worker of annotate: one stage in a process of its own, which processes one unit after another.

A row is a unit: references, and the columns of the stages so far, never audio. What a stage has committed
before is read back and not run again, so a build that was stopped resumes where it was.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline.annotate.supervisor import HEARTBEAT
from pipeline.background import BackgroundLoop
from pipeline.inputs.listing import ListedRecording
from pipeline.inputs.sidecars import sidecar_text
from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.ledger import worker_deaths
from pipeline.ledger.annotations import Ledger
from pipeline.ledger.worker_deaths import DEATHS, TaskInProgress
from pipeline.models import resolve
from pipeline.monitoring.progress import UnitReport
from pipeline.planning.plan import PlannedStage
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from schemas.arrow import from_row, schema_of, to_row
from schemas.errors import DataError, SetupError
from schemas.recording import COLUMNS, STAGES, Problem, Recording, Unit
from stages.replies import Replies


@dataclass(frozen=True)
class StageTime:
    stage: str
    wall: float
    """Seconds that the actor spent on the unit."""
    cpu: float
    """CPU seconds of its process in that time."""


@dataclass(frozen=True)
class Committed:
    """The ledger files of one stage that hold a unit."""

    stage: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class UnitRow:
    """What flows through Ray Data."""

    unit: str
    inputs: tuple[ListedRecording, ...]
    recordings: tuple[Recording, ...]
    committed: tuple[Committed, ...]
    again: tuple[str, ...]
    """Recordings to run again although they are committed."""
    retry: int
    """0, or the number of this retry of recordings that were set aside."""
    times: tuple[StageTime, ...]


@dataclass(frozen=True)
class UnitDone:
    """What the driver receives for a finished unit."""

    unit: str
    audio_seconds: float
    times: tuple[StageTime, ...]


class StageActor:
    """Runs one stage: reads what is committed, runs the rest, commits it."""

    def __init__(
        self,
        stage: PlannedStage,
        decode: PlannedStage,
        dataset: str,
        scratch: str | None,
        supervisor: Any,
        warm: bool,
    ) -> None:
        """`warm` loads the models now, while other stages load theirs, instead of with the first unit."""
        import ray

        self.planned = stage
        self.supervisor = supervisor
        self.ledger = Ledger(Store(dataset))
        self.audio = SpooledAudio(scratch_folder(scratch), decode.config, decode.fingerprint)  # type: ignore[arg-type]
        self.stage: Any = None
        context = ray.get_runtime_context()
        self.id, self.node = context.get_actor_id(), context.get_node_id()
        with self._setup_errors_reported():
            lost = ray.get(supervisor.arrive.remote(self.id, stage.name, self.node))
            if lost is not None and worker_deaths.died_alone(lost, self.node):
                self._record_crash(lost)
            supervisor.end.remote(self.id)
            BackgroundLoop(self._heartbeat, HEARTBEAT).start()
            self.audio.sweep()
            if warm:
                self._load()

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = [from_row(UnitRow, row) for row in batch.to_pylist()]
        with self._setup_errors_reported():
            done: list[Any] = [self._unit(row) for row in rows]
        last = self.planned.name == STAGES[-1]
        if last:
            done = [UnitDone(row.unit, _seconds(row.recordings), row.times) for row in done]
        schema = schema_of(UnitDone if last else UnitRow)
        return pa.Table.from_pylist([to_row(row) for row in done], schema=schema)

    def _unit(self, row: UnitRow) -> UnitRow:
        """The unit with this stage's column: read back where it is committed, else run and committed."""
        name = self.planned.name
        committed, again = self._committed(row)
        before = (
            [self._listed(item, committed) for item in row.inputs] if name == STAGES[0] else row.recordings
        )
        done = {r.id: _with_column(r, name, committed[r.id]) for r in before if r.id in committed}
        todo = tuple(r for r in before if r.id not in done or r.id in again)
        wall, cpu, written = time.monotonic(), time.process_time(), 0
        if todo:
            results = self._run(row, todo)
            changed = [results[r.id] for r in todo if done.get(r.id) != results[r.id]]
            done |= results
            if changed:
                written = self.ledger.write(name, self.planned.fingerprint, row.unit, changed, row.retry)
            if changed and not written:
                # Another build committed first: take its results, or stages would disagree about the turns.
                theirs, _ = self._committed(row)
                done |= {r.id: _with_column(r, name, theirs[r.id]) for r in todo if r.id in theirs}
        if name == STAGES[-1]:
            for recording in todo:
                self.audio.drop(recording)
        spent = StageTime(name, time.monotonic() - wall, time.process_time() - cpu)
        recordings = tuple(done[r.id] for r in before)
        self._report(row.unit, recordings, todo, spent, written)
        return replace(row, recordings=recordings, times=(*row.times, spent))

    def _report(
        self,
        unit: str,
        recordings: tuple[Recording, ...],
        todo: tuple[Recording, ...],
        spent: StageTime,
        written: int,
    ) -> None:
        name = self.planned.name
        problems = [problem for r in recordings for stage, problem in r.problems if stage == name]
        self.supervisor.report.remote(
            UnitReport(
                unit,
                name,
                recordings=len(recordings),
                computed=len(todo),
                audio_seconds=_seconds(recordings),
                seconds=spent.wall,
                cpu_seconds=spent.cpu,
                recordings_aside=sum(problem.whole for problem in problems),
                set_aside=dict(Counter(problem.code for problem in problems)),
                bytes_read=sum(r.bytes for r in todo),
                bytes_written=written,
                gpus=self.planned.resources.gpus,
                node=self.node,
                process=os.getpid(),
            )
        )

    def _committed(self, row: UnitRow) -> tuple[dict[str, dict[str, Any]], frozenset[str]]:
        """The committed columns of a unit by recording, and the recordings of those that must run again.

        After the row was created, the unit may have been committed by another build, or by this one on a node
        that was lost.
        """
        name = self.planned.name
        files = next((committed.files for committed in row.committed if committed.stage == name), ())
        columns = self.ledger.read(name, files)
        if files and not row.again:
            return columns, frozenset()
        late_files = self.ledger.committed_file(self.planned.fingerprint, row.unit, row.retry)
        late = self.ledger.read(name, late_files)
        return columns | late, frozenset(row.again) - late.keys()

    def _run(self, row: UnitRow, todo: Sequence[Recording]) -> dict[str, Recording]:
        """Recording id -> result of the stage; one recording at a time if a worker has died on the unit."""
        if self.stage is None:
            self._load()
        name = self.planned.name
        crashes = worker_deaths.crash_counts(
            self.ledger.dataset, self.planned.fingerprint, row.unit, row.retry
        )
        if not crashes.total:
            return self._process(row, todo)
        results: dict[str, Recording] = {}
        # Suspects first: recordings before them would be processed again after each death.
        for recording in sorted(todo, key=lambda r: -crashes.of(r.id)):
            if crashes.of(recording.id) < DEATHS:
                results |= self._process(row, [recording])
            else:
                results[recording.id] = replace(recording, **{name: _blamed(name)})
        return results

    def _process(self, row: UnitRow, recordings: Sequence[Recording]) -> dict[str, Recording]:
        with self._in_progress(row.unit, row.retry, tuple(r.id for r in recordings)):
            results = self.stage(Unit(row.unit, tuple(recordings))).recordings
        return {r.id: r for r in results}

    def _load(self) -> None:
        models = {model.reference: resolve(model.reference).path for model in self.planned.models}
        threads = max(1, min(int(self.planned.resources.cpus), len(os.sched_getaffinity(0))))
        stage = self.planned.type(self.planned.config, self.audio, models, threads, self._replies)
        with self._in_progress("", 0, ()):
            stage.setup()
        self.stage = stage
        self.supervisor.ready.remote(self.planned.name)

    def _replies(self, server: str) -> Replies:
        return Replies(self.ledger.dataset, layout.transcripts(server))

    @contextmanager
    def _in_progress(self, unit: str, attempt: int, recordings: tuple[str, ...]) -> Iterator[None]:
        """Tell the supervisor what this process is working on, in case it dies."""
        import ray

        task = TaskInProgress(self.planned.name, unit, attempt, recordings, self.node, os.getpid())
        # Wait for it: a message in transit would be lost together with the process.
        ray.get(self.supervisor.begin.remote(self.id, task))
        try:
            yield
        finally:
            self.supervisor.end.remote(self.id)

    def _record_crash(self, lost: TaskInProgress) -> None:
        """Record the task on which the previous process died."""
        import ray

        if lost.unit:
            worker_deaths.record_crash(self.ledger.dataset, self.planned.fingerprint, lost)
        elif (number := ray.get(self.supervisor.died_loading.remote(lost.stage))) >= DEATHS:
            raise SetupError(
                f"its process died {number} times while loading its models: check that the machine has "
                f"the {self.planned.resources.memory_gb:g} GB of memory that it needs"
            )

    def _heartbeat(self) -> None:
        self.supervisor.heartbeat.remote(self.id, time.process_time())

    @contextmanager
    def _setup_errors_reported(self) -> Iterator[None]:
        """Report a setup error to the supervisor: the exception loses its type on its way to the driver."""
        import ray

        try:
            yield
        except SetupError as error:
            ray.get(self.supervisor.stop.remote(f"{self.planned.name}: {error}"))
            raise

    def _listed(self, item: ListedRecording, committed: dict[str, dict[str, Any]]) -> Recording:
        """The recording of a listed file with the text of its sidecar; pack sets unusable sidecars aside."""
        if item.id in committed:
            return item.recording(committed[item.id]["sidecar"])
        try:
            return item.recording(sidecar_text(item.sidecar.uri) if item.sidecar else "{}")
        except DataError:
            return item.recording("{}")


def _blamed(stage: str) -> Any:
    """The column of a recording on which its worker dies."""
    message = f"killed the worker: its process died {DEATHS} times on this recording alone"
    nothing = None if stage in STAGES[:2] else ()
    return COLUMNS[stage](nothing, (Problem("killed_the_worker", message),))


def _with_column(recording: Recording, stage: str, row: dict[str, Any]) -> Recording:
    column = COLUMNS[stage]
    return replace(recording, **{stage: from_row(column, row[stage])})


def _seconds(recordings: tuple[Recording, ...]) -> float:
    return sum(r.decode.result.seconds for r in recordings if r.decode and r.decode.result)
