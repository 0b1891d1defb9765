"""What an annotate stage is, and what the pipeline passes to it."""

import errno
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import DataError, SetupError
from schemas.recording import Problem, Recording, Unit
from stages.replies import Replies

SAMPLE_RATE = 16_000
"""Sample rate in Hz of the spool, and so of all audio after decode."""

Samples = NDArray[np.float32]


class Config(BaseModel):
    """Base class of the settings of every stage: frozen, and unknown keys are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def content(self) -> dict[str, Any]:
        """The settings that determine the output, which fingerprints hash."""
        return self.model_dump(mode="json")


ConfigT = TypeVar("ConfigT", bound=Config)
ColumnT = TypeVar("ColumnT")


class Resources(Config):
    """What one actor of a stage reserves, and how many actors there may be."""

    cpus: float = Field(1, gt=0, description="cores; also the number of recordings processed at once")
    gpus: float = Field(0, ge=0, description="GPUs; with a fraction, several actors share one")
    memory_gb: float = Field(2, gt=0, description="memory in GB (1e9 bytes)")
    actors: tuple[int, int] = Field((1, 1), description="minimum and maximum number of actors")

    @model_validator(mode="after")
    def _schedulable(self) -> "Resources":
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus must be a fraction below 1 or a whole number, not {self.gpus:g}")
        fewest, most = self.actors
        if not 1 <= fewest <= most:
            raise ValueError(f"actors must be [minimum, maximum] with 1 <= minimum, not [{fewest}, {most}]")
        return self


class AudioSource(Protocol):
    """Where a stage reads audio from. The pipeline implements it, so that no stage depends on storage."""

    def fetch(self, recording: Recording) -> AbstractContextManager[Path]:
        """The original file of a recording, on local disk while the context is open."""

    def spool(self, recording: Recording) -> Path:
        """Path of the decoded 16 kHz FLAC file of a recording, whether or not it exists yet."""

    def read(
        self, recording: Recording, track: int = 0, start: float = 0.0, end: float | None = None
    ) -> Samples:
        """Samples [n], float32 at 16 kHz, of one track of the spool between two times in seconds."""

    def text(self, uri: str) -> str:
        """Contents of a small text file, such as an RTTM companion."""


class Stage(ABC, Generic[ConfigT]):
    """A step of annotate: fills one column of every recording in a unit.

    A stage never raises for bad data, which it reports as problems; it raises SetupError when the machine or
    its set-up is at fault, which stops the build.
    """

    name: ClassVar[str]
    """Key of the stage in recipes and ledgers, and of its column in `Recording`."""
    version: ClassVar[int]
    """Incremented when the output changes; part of the fingerprint."""
    memory_settings: ClassVar[tuple[str, ...]] = ()
    """Settings of this stage that lower its memory use."""

    def __init__(
        self,
        config: ConfigT,
        audio: AudioSource,
        models: Mapping[str, Path],
        threads: int = 1,
        replies: Callable[[str], Replies] | None = None,
    ) -> None:
        """`models` maps every reference in `config.models` to its local files; `threads` is the number of
        recordings to process at once. `replies` opens the cache of a server's replies by name, for stages
        that ask a server."""
        self._config = config
        self._audio = audio
        self._models = models
        self._threads = threads
        self._replies = replies

    def setup(self) -> None:
        """Load the models, once per worker. Raises SetupError with what to do."""
        try:
            self._load_models()
        except Exception as error:
            # Running out of memory may be the cause of a more general error.
            if fault := _out_of_memory(error.__cause__ or error, self.name, self.memory_settings):
                raise SetupError(fault) from error
            self._problem_of(error)  # raises SetupError if it recognises the fault
            raise

    def _load_models(self) -> None:
        """Load what `__call__` needs."""

    @abstractmethod
    def __call__(self, unit: Unit) -> Unit:
        """The unit with this stage's column filled in every recording."""

    def _each_recording(
        self,
        unit: Unit,
        annotate: Callable[[Recording], ColumnT],
        failed: Callable[[tuple[Problem, ...]], ColumnT],
    ) -> Unit:
        """Fill the column of each recording with `annotate`; recordings set aside get `failed(())`.

        An exception from `annotate` sets that recording aside. Recordings are processed `threads` at a time,
        largest first, and each by a single thread, so the output depends neither on the number of threads nor
        on the other recordings of the unit.
        """

        def annotated(recording: Recording) -> Recording:
            if recording.set_aside:
                column = failed(())
            else:
                try:
                    column = annotate(recording)
                except Exception as error:
                    column = failed((self._problem_of(error),))
            return replace(recording, **{self.name: column})  # type: ignore[arg-type]

        order = sorted(range(len(unit.recordings)), key=lambda i: -unit.recordings[i].bytes)
        with ThreadPoolExecutor(max(1, self._threads)) as pool:
            done = dict(zip(order, pool.map(lambda i: annotated(unit.recordings[i]), order), strict=True))
        return Unit(unit.id, tuple(done[i] for i in range(len(unit.recordings))))

    def _problem_of(self, error: Exception, turn: int | None = None) -> Problem:
        """`problem_of` an error in this stage, with the settings to lower when memory ran out."""
        return problem_of(error, turn, self.name, self.memory_settings)


def problem_of(
    error: Exception, turn: int | None = None, stage: str = "", memory_settings: Sequence[str] = ()
) -> Problem:
    """The problem to record when `error` was raised for a recording, or for one turn of it.

    Raises SetupError where the data is not at fault: a full disk, a missing library, a failing GPU, no memory
    left. Running out of host memory counts too: a stage reads audio in pieces of bounded length, so what it
    needs depends on its settings and on what else runs on the machine, not on the recording.
    """
    if isinstance(error, DataError):
        return Problem(error.code, error.message, turn)
    if isinstance(error, SetupError):
        raise error
    if fault := _setup_fault(error, stage, memory_settings):
        raise SetupError(fault) from error
    return Problem("unexpected", f"{type(error).__name__}: {str(error)[:300]}", turn)


_SETUP_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
"""No space, no quota, read-only, too many open files."""

_NO_HOST_MEMORY = re.compile(
    r"DefaultCPUAllocator|Failed to allocate memory for requested buffer|bad_alloc|Cannot allocate memory"
)
"""As PyTorch, ONNX Runtime (on CPUs and GPUs), C++ and the system report it."""
_NO_GPU_MEMORY = re.compile(r"out of memory|_STATUS_ALLOC_FAILED", re.IGNORECASE)
"""As PyTorch and CTranslate2, and cuBLAS and cuDNN report it."""
_GPU_FAILED = re.compile(r"\bCUDA (error|failed|driver)|\bCUDNN_STATUS|\bCUBLAS_STATUS|cuDNN error")
_NO_LIBRARY = re.compile(
    r"Library lib\S+ is not found or cannot be loaded|cannot open shared object file|Unable to load any of"
)
"""As CTranslate2, the dynamic linker and cuDNN report it."""


def _setup_fault(error: Exception, stage: str, memory_settings: Sequence[str]) -> str | None:
    """What is wrong with the machine or its set-up and what to do; None for any other error."""
    where = f"{stage}: " if stage else ""
    if isinstance(error, OSError) and error.errno in _SETUP_ERRNO:
        return f"{where}{error.strerror}: {error.filename or 'while writing'}"
    if fault := _out_of_memory(error, stage, memory_settings):
        return fault
    if isinstance(error, ImportError) or _NO_LIBRARY.search(str(error)):
        return (
            f"{where}a library is missing or can't be loaded: {_reason(error)}. Install it on every machine"
        )
    if _GPU_FAILED.search(str(error)):
        return f"{where}the GPU failed: {_reason(error)}. Check the driver and the GPU with nvidia-smi"
    return None


def _out_of_memory(error: BaseException, stage: str, memory_settings: Sequence[str]) -> str | None:
    """Which memory ran out and which settings to change; None for any other error."""
    where = f"{stage}: " if stage else ""
    settings = [*memory_settings, f"resources.{stage}.cpus (recordings processed at once)"]
    lower = f". Lower {' or '.join(settings)}" if stage else ""
    no_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if no_memory or isinstance(error, MemoryError) or _NO_HOST_MEMORY.search(str(error)):
        return f"{where}out of memory: {_reason(error)}{lower}"
    if is_out_of_gpu_memory(error):
        share = f", or raise resources.{stage}.gpus so that fewer actors share a GPU" if stage else ""
        return f"{where}out of GPU memory: {_reason(error)}{lower}{share}"
    return None


def is_out_of_gpu_memory(error: BaseException) -> bool:
    return bool(_NO_GPU_MEMORY.search(str(error)))


def _reason(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:400]
