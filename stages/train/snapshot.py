"""Checkpoints of a run in progress: the weights that are trained and their optimizer moments; each process
writes what it holds (DCP).

A checkpoint can be read by a different number of processes than wrote it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter

from schemas.errors import SetupError
from stages.train.folder import CHECKPOINTS, emptied
from stages.train.object_checkpoint import METADATA, ObjectReader, ObjectWriter
from stages.train.parallel import World
from stages.train.remote import Remote

_TRAINED = StateDictOptions(ignore_frozen_params=True, strict=False)


class Snapshots(Protocol):
    """Where the checkpoints of a run are. Of each method but `writer` and `reader`, the first process calls
    it."""

    def steps(self) -> list[int]:
        """Numbers of steps done at the checkpoints that are complete."""

    def begin(self) -> None: ...

    def writer(self, step: int) -> StorageWriter: ...

    def publish(self, step: int) -> None:
        """Have a written checkpoint replace those before it."""

    def reader(self, step: int) -> StorageReader: ...


class FolderSnapshots:
    """In the folder of a run, which all processes see."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / CHECKPOINTS
        self._partial = self._folder / ".partial"

    def steps(self) -> list[int]:
        return sorted(int(path.name) for path in self._folder.glob("[0-9]*"))

    def begin(self) -> None:
        emptied(self._partial)

    def writer(self, step: int) -> StorageWriter:
        return FileSystemWriter(self._partial)

    def publish(self, step: int) -> None:
        self._partial.rename(self._of(step))
        for older in self.steps()[:-1]:
            shutil.rmtree(self._of(older))

    def reader(self, step: int) -> StorageReader:
        return FileSystemReader(self._of(step))

    def _of(self, step: int) -> Path:
        return self._folder / f"{step:08}"


class RemoteSnapshots:
    """In the store of a run. What else the run has there is never behind its checkpoint."""

    def __init__(self, remote: Remote) -> None:
        self._objects = remote.objects
        self.begin = remote.push

    def steps(self) -> list[int]:
        found = (item.path.split("/") for item in self._objects.list(CHECKPOINTS))
        return sorted(int(parts[-2]) for parts in found if parts[-1] == METADATA)

    def writer(self, step: int) -> StorageWriter:
        return ObjectWriter(self._objects, self._of(step))

    def publish(self, step: int) -> None:
        # Another process may be at a later one. The numbers sort as text.
        older = [item.path for item in self._objects.list(CHECKPOINTS) if item.path < self._of(step)]
        # One that has lost other files must not count.
        self._objects.delete([path for path in older if path.endswith(METADATA)])
        self._objects.delete([path for path in older if not path.endswith(METADATA)])

    def reader(self, step: int) -> StorageReader:
        return ObjectReader(self._objects, self._of(step))

    def _of(self, step: int) -> str:
        return f"{CHECKPOINTS}/{step:08}"


def write(
    snapshots: Snapshots, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, world: World
) -> None:
    """Write a checkpoint, completely or not at all, and then remove the previous one. Raises SetupError where
    a store refuses it."""
    world.first(snapshots.begin)
    with _told(f"the checkpoint after {step} steps was not written, the one before it is intact"):
        save(_state(model, optimizer), storage_writer=snapshots.writer(step), no_dist=_is_alone())
    world.first(lambda: snapshots.publish(step))


def _is_alone() -> bool:
    """A process without others exchanges no plans. Gloo would copy them on threads of its own, whose threads
    of OpenMP stay: with more of these than cores all of them wait asleep, and every later step takes half as
    long again on two cores."""
    return dist.get_world_size() == 1


def last_step(snapshots: Snapshots, world: World) -> int:
    """Number of steps done at the last checkpoint; 0 if there is none."""
    return world.first(lambda: max(snapshots.steps(), default=0))


def read(snapshots: Snapshots, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load the weights and moments of a checkpoint. Raises SetupError if it is of a model with more weights,
    or if a store refuses it."""
    state = _state(model, optimizer)
    what = f"the checkpoint after {step} steps"
    with _told(f"{what} was not read"):
        reader = snapshots.reader(step)
        stored = {name.removeprefix("model.") for name in reader.read_metadata().state_dict_metadata}
        if more := sorted(name for name in stored - {*state["model"]} if not name.startswith("optimizer.")):
            raise SetupError(f"{what} is of a larger model, which has {more[0]}: train in another folder")
        load(state, storage_reader=reader, no_dist=_is_alone())
    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=_TRAINED,
    )
    dist.barrier()


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    weights, moments = get_state_dict(model, optimizer, options=_TRAINED)
    return {"model": weights, "optimizer": moments}


@contextmanager
def _told(what: str) -> Iterator[None]:
    """The error of a store, which DCP wraps in one of its own, in all processes."""
    try:
        yield
    except CheckpointException as error:
        causes = [cause for cause, _ in error.failures.values() if isinstance(cause, SetupError)]
        if not causes:
            raise
        raise type(causes[0])(f"{what}: {causes[0]}") from error
