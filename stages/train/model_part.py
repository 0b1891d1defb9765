"""One of several processes that together hold a Step-1 decoder: its part of the weights and of the caches.

Heads, feed-forward network and vocabulary are divided. What a process computes of a block's output is one
summand of it; the logits are put together of all parts.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import TCPStore

from stages.train.batch_cache import BatchReader
from stages.train.cache import Step1Reader
from stages.train.checkpoint import checked_names, read_shape
from stages.train.model import Layer, Step1, alibi_slopes
from stages.train.shape import Shape
from stages.train.weights import SafetensorsFolder


@dataclass(frozen=True)
class PartShape(Shape):
    """What each of `parts` processes holds of a decoder: its heads, groups, ffn and vocabulary are shares."""

    parts: int = 1

    @classmethod
    def of(cls, whole: Shape, parts: int) -> "PartShape":
        shares = {size: getattr(whole, size) // parts for size in Shape.DIVIDED}
        return cls(**vars(whole) | shares, parts=parts)

    @property
    def head(self) -> int:
        return self.hidden // (self.heads * self.parts)


@dataclass(frozen=True)
class Place:
    """What a process needs to know to hold its part."""

    directory: Path
    """Of the checkpoint."""
    part: int
    """Its number, from 0."""
    parts: int
    device: torch.device
    dtype: torch.dtype
    port: int
    """Of this machine's TCPStore, in which the processes find each other."""


class PartReaders:
    """The readers of one process, by number. Every process is told the same, in the same order."""

    def __init__(self, model: Step1) -> None:
        self._model = model
        self._readers: dict[int, Step1Reader] = {}
        self._batches: dict[int, BatchReader] = {}

    def create(self, number: int) -> None:
        self._readers[number] = Step1Reader(self._model)

    def copy(self, number: int, source: int) -> None:
        self._readers[number] = self._readers[source].copy()

    def read(self, number: int, ids: Sequence[int]) -> Tensor:
        """logits_V"""
        return self._readers[number].read(ids)

    def create_batch(self, number: int, rows: int) -> None:
        self._batches[number] = BatchReader(self._model, rows)

    def join(self, number: int, reader: int) -> None:
        self._batches[number].join(self._readers[reader])

    def leave(self, number: int, row: int) -> None:
        self._batches[number].leave(row)

    def read_batch(self, number: int, ids: Sequence[int]) -> Tensor:
        """logits_BV"""
        return self._batches[number].read(ids)

    def drop(self, number: int) -> None:
        self._readers.pop(number, None)
        self._batches.pop(number, None)


def run_part(place: Place, commands: Connection) -> None:
    """The target of a process: do what the commands (a method of `PartReaders`, its arguments) say until the
    other end is gone. The first process sends None when all are ready, and the logits of every read; any
    process sends the reason, as a string, if it fails."""
    Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries' messages; stdout is for answers
    try:
        readers = PartReaders(open_part(place))
        dist.barrier()
        if place.part == 0:
            commands.send(None)
        while True:
            try:
                method, arguments = commands.recv()
            except EOFError:
                break
            result: Tensor | None = getattr(readers, method)(*arguments)
            if result is not None and place.part == 0:
                commands.send(result.float().cpu().numpy())
        dist.destroy_process_group()
    except Exception as error:
        with suppress(OSError):
            first_line = str(error).strip().split("\n", 1)[0]
            commands.send(f"{type(error).__name__}: {first_line}")


def _end_with_parent() -> None:
    """Also when it was killed, and this process waits for another that is gone already."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def open_part(place: Place) -> Step1:
    """Join the others, and load this process's part of a model whose sizes can be divided."""
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // place.parts))
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    for backend in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{backend}_SOCKET_IFNAME", loopback)
    dist.init_process_group(
        "nccl" if place.device.type == "cuda" else "gloo",
        store=TCPStore("127.0.0.1", place.port),
        rank=place.part,
        world_size=place.parts,
        device_id=place.device if place.device.type == "cuda" else None,
    )
    whole = read_shape(place.directory)
    weights = SafetensorsFolder(place.directory)
    with torch.device("meta"):
        stored = checked_names(Step1(whole), weights)
        model = Step1(PartShape.of(whole, place.parts))
        model.model.embed_tokens = _PartEmbedding(whole.vocabulary // place.parts, whole.hidden)
    own = {
        name: weights.part(
            stored.of[name], _region(parameter, weights.specs[stored.of[name]].shape, place)
        ).to(place.device, place.dtype, copy=True)
        for name, parameter in model.named_parameters()
    }
    model.load_state_dict(own, assign=True)
    model.model.slopes_H = alibi_slopes(whole.heads).chunk(place.parts)[place.part]
    for block in cast(Iterable[Layer], model.layers):
        for linear in (block.self_attn.o_proj, block.mlp.down_proj):
            linear.register_forward_hook(_sum)
    model.lm_head.register_forward_hook(_put_together)
    return model.requires_grad_(False).eval()


def _region(own: Tensor, whole: tuple[int, ...], place: Place) -> tuple[slice, ...]:
    """Where a part is in the whole tensor, which is divided along one dimension or not at all."""
    sizes = zip(own.shape, whole, strict=True)
    return tuple(
        slice(size) if size == full else slice(place.part * size, (place.part + 1) * size)
        for size, full in sizes
    )


class _PartEmbedding(nn.Embedding):
    """Zero for ids of other parts, so that the sum is the embedding."""

    def forward(self, input: Tensor) -> Tensor:
        rows = self.weight.shape[0]
        own = input - dist.get_rank() * rows
        held = (own >= 0) & (own < rows)
        x_BLD = super().forward(own.where(held, 0)) * held[..., None]
        dist.all_reduce(x_BLD)
        return x_BLD


def _sum(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
    dist.all_reduce(output)


def _put_together(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    parts = [torch.empty_like(output) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, output)
    return torch.cat(parts, -1)
