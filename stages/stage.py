"""What a stage of annotate is, and what it is handed."""

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import DataError, SetupError
from schemas.recording import Problem, Recording, Unit

SAMPLE_RATE = 16_000
"""Hz of the spool and of everything behind decode."""

Samples = NDArray[np.float32]
Column = TypeVar("Column")


class Config(BaseModel):
    """Base of every stage's settings: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Resources(Config):
    """What one actor of a stage takes, and how many actors there may be."""

    cpus: float = Field(1, gt=0, description="cores, also the number of recordings worked on at once")
    gpus: float = Field(0, ge=0, description="fractions share a GPU")
    memory_gb: float = Field(2, gt=0)
    actors: tuple[int, int] = Field((1, 1), description="fewest and most actors")

    @model_validator(mode="after")
    def _can_be_asked_for(self) -> "Resources":
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus are a fraction of one or a whole number, not {self.gpus:g}")
        least, most = self.actors
        if not 1 <= least <= most:
            raise ValueError(f"actors are the fewest, at least 1, and the most: not [{least}, {most}]")
        return self


class AudioSource(Protocol):
    """Where a stage gets its audio: the pipeline hands it in, so that no stage knows about storage."""

    def fetch(self, recording: Recording) -> AbstractContextManager[Path]:
        """The recording's own file, on local disk while the context is open."""

    def spool(self, recording: Recording) -> Path:
        """Where the decoded 16 kHz FLAC of a recording lies, or is to be written."""

    def read(
        self, recording: Recording, track: int = 0, start: float = 0.0, end: float | None = None
    ) -> Samples:
        """Samples [n] of one track of the spool between two times in seconds, float32 at 16 kHz."""

    def text(self, uri: str) -> str:
        """A small text file, such as an RTTM beside the recording."""


class Stage(Protocol):
    """A step of annotate: measures every recording of a unit and never raises for bad data."""

    name: str
    version: int
    """Raised by a change of behaviour; part of the fingerprint."""

    def setup(self) -> None:
        """Load models, once a worker. Raises SetupError with what to do."""

    def __call__(self, unit: Unit) -> Unit:
        """The unit with this stage's column filled in every recording."""


def each_recording(
    unit: Unit,
    work: Callable[[Recording], Column],
    failed: Callable[[tuple[Problem, ...]], Column],
    column: str,
    threads: int = 1,
) -> Unit:
    """Run `work` on each recording that is still in; what it raises sets that recording aside.

    Recordings are worked on `threads` at a time, the largest first, each by one thread from start
    to end, so that the result depends neither on the number of threads nor on the neighbours.
    """

    def one(recording: Recording) -> Recording:
        if recording.set_aside:
            return _with(recording, column, failed(()))
        try:
            return _with(recording, column, work(recording))
        except Exception as error:
            return _with(recording, column, failed((problem_of(error),)))

    order = sorted(range(len(unit.recordings)), key=lambda i: -unit.recordings[i].bytes)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        done = dict(zip(order, pool.map(lambda i: one(unit.recordings[i]), order), strict=True))
    return Unit(unit.id, tuple(done[i] for i in range(len(unit.recordings))))


def problem_of(error: Exception, turn: int | None = None) -> Problem:
    """What to set aside for an error, or the error again where the set-up is to blame."""
    if isinstance(error, DataError):
        return Problem(error.code, error.message, turn)
    if isinstance(error, (SetupError, MemoryError)):
        raise error
    if isinstance(error, OSError) and error.errno in _SETUP_ERRNO:
        raise SetupError(f"{error.strerror}: {error.filename or 'while writing'}") from error
    return Problem("unexpected", f"{type(error).__name__}: {str(error)[:300]}", turn)


_SETUP_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE}
"""No space, no quota, read-only, too many open files: not the recording's fault."""


def _with(recording: Recording, column: str, value: Any) -> Recording:
    return replace(recording, **{column: value})
