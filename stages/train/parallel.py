"""The processes of a run, and how a model is distributed over them.

The mesh has two dimensions, `data` x `tensor`. Processes along `data` compute different sequences; each holds
a shard of weights, gradients and moments, and a layer's weights are gathered when it computes (FSDP2).
Processes along `tensor` compute the same sequences, each with its part of the heads, of the feed-forward
network and of the vocabulary; between the blocks each has its part of the positions (sequence parallelism).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore, PrefixStore, Store
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from schemas.errors import SetupError
from stages.precision import computed_in
from stages.train.config import TrainConfig
from stages.train.lora import AdaptedLinear, freeze_base
from stages.train.model import Backbone, Step1

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them."""

    mesh: DeviceMesh
    device: torch.device

    @property
    def data(self) -> DeviceMesh:
        return self.mesh["data"]

    @property
    def is_first(self) -> bool:
        return dist.get_rank() == 0

    def shares(self, numbers: Sequence[T]) -> list[T]:
        """This process's part of a step's sequences, which the processes along `data` divide evenly."""
        size, rank = self.data.size(), self.data.get_local_rank()
        return list(numbers[rank * len(numbers) // size : (rank + 1) * len(numbers) // size])

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum, in place, over processes with different sequences."""
        dist.all_reduce(tensor, group=self.data.get_group())
        return tensor

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean, in place, over processes with different sequences."""
        return self.sum(tensor).div_(self.data.size())

    def gather(self, value: T) -> list[T]:
        """The values of the processes with different sequences."""
        values: list[Any] = [None] * self.data.size()
        dist.all_gather_object(values, value, group=self.data.get_group())
        return cast(list[T], values)

    def first(self, action: Callable[[], T]) -> T:
        """Run an action in the first process; all processes get its result, or raise its SetupError."""
        outcome: list[Any] = [None, None]
        if self.is_first:
            try:
                outcome[0] = action()
            except SetupError as error:
                outcome[1] = (type(error), str(error))
        dist.broadcast_object_list(outcome, src=0)
        if outcome[1] is not None:
            kind, message = outcome[1]
            raise kind(message)
        return cast(T, outcome[0])


@contextmanager
def joined(tensor_parallel: int) -> Iterator[World]:
    """The process group described by the environment; `tensor_parallel` processes share each layer.

    A group that exists already (Ray Train initialises one) is used and kept; otherwise one is initialised,
    and destroyed at the end. Raises SetupError if `tensor_parallel` doesn't divide the number of processes.
    """
    device = _device()
    is_new_group = not dist.is_initialized()
    if is_new_group:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store, rank, size = _rendezvous()
        bound = device if device.type == "cuda" else None
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, device_id=bound)
    try:
        size = dist.get_world_size()
        if size % tensor_parallel:
            raise SetupError(
                f"tensor_parallel {tensor_parallel} does not divide the {size} processes of the run"
            )
        sizes = (size // tensor_parallel, tensor_parallel)
        mesh = init_device_mesh(device.type, sizes, mesh_dim_names=("data", "tensor"))
        yield World(mesh, device)
    finally:
        if is_new_group:
            dist.destroy_process_group()


def _rendezvous() -> tuple[Store, int, int]:
    """The store in which processes find each other, this process's rank, and the number of processes."""
    if "WORLD_SIZE" not in os.environ:
        return HashStore(), 0, 1
    store, rank, size = next(rendezvous("env://"))
    # The store outlives processes that torchrun restarts, and runs of a chain: what they left in it must not
    # be read.
    attempt = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    return PrefixStore(str(attempt.add(f"joined by {rank}", 1)), attempt), rank, size


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def parallelize(model: Backbone, world: World, config: TrainConfig) -> None:
    """Distribute a model on the meta device over the processes, in place; it stays on the meta device.

    Parameters that are trained are float32. Layers compute in the precision of the settings, and gradients
    are summed in float32. Raises SetupError if the shape can't be split.
    """
    if config.tensor_parallel > 1:
        _split(model, world.mesh["tensor"])
    if config.lora:
        freeze_base(model)  # splitting has made some of its parameters anew
    if config.compile:
        for layer in model.layers:
            layer.forward = torch.compile(layer.forward, dynamic=False)  # type: ignore[method-assign]
    if config.activation_checkpointing:
        for n, layer in enumerate(model.layers):
            model.layers[n] = checkpoint_wrapper(layer, preserve_rng_state=False)
    computed = getattr(torch, computed_in(config.precision, world.device.type))
    policy = MixedPrecisionPolicy(param_dtype=computed, reduce_dtype=torch.float32)
    for layer in model.layers:
        fully_shard(layer, mesh=world.data, mp_policy=policy)
    fully_shard(model, mesh=world.data, mp_policy=policy)
    register_fsdp_forward_method(model, "losses")
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # Losses are divided by the targets of all processes, so gradients are sums, not means.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def _split(model: Backbone, mesh: DeviceMesh) -> None:
    if not isinstance(model, Step1):
        raise SetupError("only the Step-1 decoder supports tensor parallelism: set tensor_parallel to 1")
    parts = mesh.size()
    if size := model.shape.undivided_by(parts):
        raise SetupError(f"tensor_parallel {parts} does not divide the model's {size}")
    positions, replicated = Shard(1), Replicate()
    ends = {
        "model.embed_tokens": RowwiseParallel(input_layouts=replicated, output_layouts=positions),
        "model.norm": SequenceParallel(),
        "model": PrepareModuleOutput(output_layouts=positions, desired_output_layouts=replicated),
        "lm_head": ColwiseParallel(),
    }
    parallelize_module(model, mesh, ends)
    layer = {
        "input_layernorm": SequenceParallel(),
        "self_attn": PrepareModuleInput(
            input_layouts=(positions, None), desired_input_layouts=(replicated, None)
        ),
        "self_attn.q_proj": ColwiseParallel(),
        "self_attn.k_proj": ColwiseParallel(),
        "self_attn.v_proj": ColwiseParallel(),
        "self_attn.o_proj": RowwiseParallel(output_layouts=positions),
        "post_attention_layernorm": SequenceParallel(),
        "mlp": PrepareModuleInput(input_layouts=(positions,), desired_input_layouts=(replicated,)),
        "mlp.gate_proj": ColwiseParallel(),
        "mlp.up_proj": ColwiseParallel(),
        "mlp.down_proj": RowwiseParallel(output_layouts=positions),
    }
    for block in model.layers:
        parallelize_module(block, mesh, layer)
        for module in block.modules():
            if isinstance(module, AdaptedLinear):
                _split_adapter(module, mesh)
    model.model.slopes_H = model.model.slopes_H.chunk(parts)[mesh.get_local_rank()]


def _split_adapter(module: AdaptedLinear, mesh: DeviceMesh) -> None:
    """Along the same side as the weight beside it; the other matrix is whole on every process."""
    by_rows = cast(DTensor, module.weight).placements[0].is_shard(0)
    a, b = (Replicate(), Shard(0)) if by_rows else (Shard(1), Replicate())
    for name, placement in (("lora_a", a), ("lora_b", b)):
        empty = torch.empty(getattr(module, name).shape, device="meta")
        setattr(module, name, nn.Parameter(distribute_tensor(empty, mesh, [placement])))
