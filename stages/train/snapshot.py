"""Checkpoints of a run in progress: the weights that are trained and their optimizer moments; each process
writes what it holds (DCP).

A checkpoint can be read by a different number of processes than wrote it.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from stages.train.folder import CHECKPOINTS, emptied
from stages.train.parallel import World

_TRAINED = StateDictOptions(ignore_frozen_params=True, strict=False)


def write(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> None:
    """Write a checkpoint, completely or not at all, and then remove the previous one."""
    partial = folder / CHECKPOINTS / ".partial"
    world.first(lambda: emptied(partial))
    save(_state(model, optimizer), checkpoint_id=partial)

    def publish() -> None:
        partial.rename(folder / CHECKPOINTS / f"{step:08}")
        for older in _all(folder)[:-1]:
            shutil.rmtree(older)

    world.first(publish)


def last_step(folder: Path, world: World) -> int:
    """Number of steps done at the last checkpoint; 0 if there is none."""
    return world.first(lambda: max((int(path.name) for path in _all(folder)), default=0))


def read(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load the weights and moments of a checkpoint."""
    state = _state(model, optimizer)
    load(state, checkpoint_id=folder / CHECKPOINTS / f"{step:08}")
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


def _all(folder: Path) -> list[Path]:
    return sorted((folder / CHECKPOINTS).glob("[0-9]*"))
