"""What a run takes before it is started: memory of each device by kind, and hours.

Counted on the model without numbers (the meta device), by what `parallel.py`, `loss.py` and the optimizer
hold: an estimate, within a fifth of what was measured.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache

from schemas.errors import SetupError
from stages.train.config import TrainConfig
from stages.train.flops import DENSE_BF16, step_flops
from stages.train.shape import Shape

MEMORY = {"H100": 80e9, "H800": 80e9, "H200": 141e9, "A100": 80e9, "A800": 80e9}
"""Bytes of a GPU."""
USABLE = 0.9
"""Of a GPU's memory: the rest is the driver's, NCCL's and lost between allocations."""
MASTER = 4
"""Bytes of a weight, of the sum of its gradients, and of each of its two moments."""
TENSOR = (1, 2, 4, 8)
"""Sizes of tensor parallelism, up to the GPUs of a machine."""


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak of a step, on one device."""

    weights: int
    """Its share in float32, and what is gathered of other shares while a layer computes."""
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())

    def line(self) -> str:
        """`weights 1.2 GB, gradients ..`"""
        return ", ".join(f"{kind} {size / 1e9:.2f} GB" for kind, size in asdict(self).items())


@cache
def parameters(shape: Shape) -> tuple[int, int]:
    """Of the whole model, and of its largest layer, counted on the meta device."""
    import torch

    from stages.train.model import Step1

    with torch.device("meta"):
        model = Step1(shape)
    count = sum(parameter.numel() for parameter in model.parameters())
    return count, max(sum(p.numel() for p in layer.parameters()) for layer in model.model.layers)


def memory_of(shape: Shape, config: TrainConfig, devices: int, on_gpu: bool = True) -> Memory:
    """Of one of `devices` devices, which share the weights, and `config.tensor_parallel` of which share each
    layer."""
    everything, layer = parameters(shape)
    tensor = config.tensor_parallel
    ends = 2 * shape.vocabulary * shape.hidden
    size = 2 if config.precision == "bfloat16" else 4
    positions = config.micro_batch * config.sequence_length
    share = MASTER * everything // devices
    is_split = devices > tensor or size != MASTER
    # The head and two layers, one of them ahead, stand gathered in the precision of the computation; their
    # gradients do so until they are summed in float32.
    gathered = size * (ends + 2 * layer) // tensor if is_split else 0
    summed = (MASTER if is_split else 0) * ends // tensor
    return Memory(
        weights=share + gathered,
        gradients=share + summed + MASTER * ends // 2 // tensor,
        optimizer=2 * share,
        activations=_activations(shape, config, positions, size, on_gpu),
        logits=_logits(positions, shape, size, tensor),
    )


def _logits(positions: int, shape: Shape, size: int, tensor: int) -> int:
    """Of a chunk of positions, as computed and in float32, beside those of the chunk before."""
    from stages.train.loss import CHUNK

    computed = size if size != MASTER else 0
    each = computed + MASTER * min(2, math.ceil(positions / CHUNK))
    return min(CHUNK, positions) * shape.vocabulary * each // tensor


def _activations(shape: Shape, config: TrainConfig, positions: int, size: int, on_gpu: bool) -> int:
    tensor = config.tensor_parallel
    hidden, grouped, ffn = shape.hidden, shape.groups * shape.head, shape.ffn
    # What projections read is whole on every device; what they give, and what lies between blocks, is shared.
    of_layer = positions * size * (2 * hidden + (4 * hidden + 2 * grouped + 4 * ffn) // tensor)
    between = positions * size * hidden // tensor
    layers = shape.layers * between + of_layer if config.activation_checkpointing else shape.layers * of_layer
    ends = positions * hidden * (2 * size + 2 * MASTER)
    bias = 0
    if not on_gpu:  # dense attention: the bias of all pairs of positions, and the mask
        bias = positions * config.sequence_length * (2 * MASTER * shape.heads // tensor + 8)
    return layers + of_layer // 2 + ends + bias


def device_memory() -> float | None:
    """Bytes of a GPU of this machine; None where there is none."""
    import torch

    return (
        float(torch.cuda.get_device_properties(0).total_memory) * USABLE
        if torch.cuda.is_available()
        else None
    )


@dataclass(frozen=True)
class Layout:
    """How devices are used."""

    devices: int
    tensor_parallel: int
    memory: Memory
    fits: bool

    @property
    def data(self) -> int:
        """Devices along which sequences and weights are shared (FSDP)."""
        return self.devices // self.tensor_parallel


def suggest(
    shape: Shape, config: TrainConfig, kind: str, devices: int | None = None
) -> tuple[TrainConfig, Layout]:
    """Settings and layout that fit GPUs of a kind: as little tensor parallelism as will do, activations kept
    if there is room. Without a number of `devices`, on the fewest."""
    limit = MEMORY[kind_of(kind)] * USABLE
    numbers = [devices] if devices else [2**n for n in range(13)]
    tried: list[tuple[TrainConfig, Layout]] = []
    for number in numbers:
        for changed in _variants(shape, config, number):
            memory = memory_of(shape, changed, number)
            tried.append((changed, Layout(number, changed.tensor_parallel, memory, memory.total <= limit)))
            if tried[-1][1].fits:
                return tried[-1]
    return min(tried, key=lambda one: one[1].memory.total)


def _variants(shape: Shape, config: TrainConfig, devices: int) -> Iterable[TrainConfig]:
    for tensor in TENSOR:
        if devices % tensor or any(n % tensor for n in (shape.groups, shape.ffn, shape.vocabulary)):
            continue
        for checkpointing in (False, True):
            yield config.model_copy(
                update={"tensor_parallel": tensor, "activation_checkpointing": checkpointing}
            )


def kind_of(name: str) -> str:
    """The name of a kind of GPU as the tables have it. Raises SetupError for an unknown one."""
    if name.upper() not in MEMORY:
        raise SetupError(f"no figures of the GPU {name} are known: one of {', '.join(MEMORY).lower()}")
    return name.upper()


def hours(
    shape: Shape, config: TrainConfig, tokens: float, document: float, kind: str, devices: int, mfu: float
) -> float:
    """Of `tokens` tokens in documents of a mean length, at a share of the GPUs' peak; every token bears loss.

    The reference of DPO is one more forward pass over its pairs.
    """
    flops = step_flops(shape, tokens, tokens * document, tokens) * config.epochs
    if config.objective == "dpo":
        flops += step_flops(shape, tokens, tokens * document, tokens) / 3
    return flops / (devices * DENSE_BF16[kind_of(kind)] * mfu) / 3600


def steps_of(config: TrainConfig, tokens: float) -> int:
    """Steps of a run over so many tokens, sequences being full."""
    return config.steps or math.ceil(
        config.epochs * tokens / (config.global_batch_size * config.sequence_length)
    )
