"""Predicts what a run takes before it is started: memory per device by purpose, and hours.

The model is counted on the meta device, and memory follows what `parallel.py`, `loss.py` and the optimizer
hold. The estimate is within a fifth of measurements.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache

from schemas.errors import SetupError
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES
from stages.precision import computed_in
from stages.train.config import LoRAConfig, TrainConfig
from stages.train.flops import DENSE_BF16, step_flops
from stages.train.shape import Shape

MEMORY = {"H100": 80e9, "H800": 80e9, "H200": 141e9, "A100": 80e9, "A800": 80e9}
"""Bytes per GPU."""
USABLE = 0.9
"""Share of a GPU's memory; the rest is used by the driver and NCCL, or lost to fragmentation."""
MASTER = 4
"""Bytes of a weight, of its gradient sum, and of each of its two optimizer moments."""
TENSOR_PARALLEL = (1, 2, 4, 8)
"""Degrees of tensor parallelism to try, up to the GPUs of a machine."""


@dataclass(frozen=True)
class Memory:
    """Peak bytes during a step, on one device."""

    weights: int
    """The device's shard, in float32 unless it is frozen, and what is gathered from other devices while a
    layer computes."""
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
    """Number of parameters of the model, and of its largest layer."""
    import torch

    from stages.train.model import Step1

    with torch.device("meta"):
        model = Step1(shape)
    count = sum(parameter.numel() for parameter in model.parameters())
    return count, max(sum(p.numel() for p in layer.parameters()) for layer in model.model.layers)


def trained_parameters(shape: Shape, lora: LoRAConfig | None) -> int:
    """Number of parameters that have a gradient. Of LoRA, those in a Step-1 decoder of this shape."""
    if lora is None:
        return parameters(shape)[0]
    hidden, grouped, ffn = shape.hidden, shape.groups * shape.head, shape.ffn
    widths = dict.fromkeys(("q_proj", "o_proj"), 2 * hidden)  # of inputs and outputs
    widths |= dict.fromkeys(("k_proj", "v_proj"), hidden + grouped)
    widths |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), hidden + ffn)
    width = sum(widths.get(name, 0) for name in lora.targets or widths)
    rows = 2 * (LINGUISTIC_CODES + SEMANTIC_CODES) * hidden if lora.added_tokens else 0
    return shape.layers * lora.rank * width + rows


def memory_of(
    shape: Shape, config: TrainConfig, devices: int, on_gpu: bool = True, stored: float = MASTER
) -> Memory:
    """Memory of one of `devices` devices, over which the weights are sharded, and `config.tensor_parallel` of
    which split each layer. `stored` are the bytes of a weight in the checkpoint, in which LoRA keeps it."""
    everything, layer = parameters(shape)
    trained, lora = trained_parameters(shape, config.lora), config.lora
    frozen = round(stored * everything / devices) if lora else 0
    tensor = config.tensor_parallel
    ends = 2 * shape.vocabulary * shape.hidden
    size = 2 if computed_in(config.precision, "cuda" if on_gpu else "cpu") == "bfloat16" else 4
    positions = config.micro_batch * config.sequence_length
    share = MASTER * trained // devices
    is_split = devices > tensor or size != (stored if lora else MASTER)
    has_head_gradient = lora is None or lora.added_tokens
    # The head and two layers, one of them prefetched, are gathered in the precision of the computation, and
    # so are their gradients until they are summed in float32.
    gathered = size * (ends + 2 * layer) // tensor if is_split else 0
    if lora and lora.added_tokens:
        gathered += size * ends  # with the trained rows in them
    summed = (MASTER if is_split and not lora else 0) * ends // tensor
    return Memory(
        weights=frozen + share + gathered,
        gradients=share + summed + (MASTER * ends // 2 // tensor if has_head_gradient else 0),
        optimizer=2 * share,
        activations=_activations(shape, config, positions, size, on_gpu),
        logits=_logits(positions, shape, size, tensor),
    )


def _logits(positions: int, shape: Shape, size: int, tensor: int) -> int:
    """Logits of a chunk of positions, as computed and in float32, next to those of the previous chunk."""
    from stages.train.loss import CHUNK

    computed = size if size != MASTER else 0
    each = computed + MASTER * min(2, math.ceil(positions / CHUNK))
    return min(CHUNK, positions) * shape.vocabulary * each // tensor


def _activations(shape: Shape, config: TrainConfig, positions: int, size: int, on_gpu: bool) -> int:
    tensor = config.tensor_parallel
    hidden, grouped, ffn = shape.hidden, shape.groups * shape.head, shape.ffn
    # Inputs of projections are whole on every device; their outputs, and activations between blocks, are
    # split.
    of_layer = positions * size * (2 * hidden + (4 * hidden + 2 * grouped + 4 * ffn) // tensor)
    between = positions * size * hidden // tensor
    layers = shape.layers * between + of_layer if config.activation_checkpointing else shape.layers * of_layer
    ends = positions * hidden * (2 * size + 2 * MASTER)
    attention = 0 if on_gpu else _attention_on_cpu(shape, config, positions, size)
    return layers + of_layer // 2 + ends + attention


def _attention_on_cpu(shape: Shape, config: TrainConfig, positions: int, size: int) -> int:
    """Of documents as long as a sequence: the bias of all distances, and the scores, before and after the
    softmax, that the gradient needs of each layer. The scores of very long documents aren't kept."""
    from stages.train.document_attention import LONG

    length, heads = config.sequence_length, shape.heads // config.tensor_parallel
    bias = heads * length**2 * (MASTER + size)
    scores = 2 * size * heads * positions * length if length <= LONG else 0
    return bias + scores * (1 if config.activation_checkpointing else shape.layers)


def device_memory() -> float | None:
    """Usable bytes of a GPU of this machine; None if it has no GPU."""
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
        """Devices along which sequences and weights are sharded (FSDP)."""
        return self.devices // self.tensor_parallel


def suggest(
    shape: Shape, config: TrainConfig, kind: str, devices: int | None = None, stored: float = MASTER
) -> tuple[TrainConfig, Layout]:
    """Settings and layout that fit a kind of GPU: as little tensor parallelism as possible, and activations
    kept if they fit. Without a number of `devices`, the smallest one that fits."""
    limit = MEMORY[kind_of(kind)] * USABLE
    counts = [devices] if devices else [2**n for n in range(13)]
    tried: list[tuple[TrainConfig, Layout]] = []
    for count in counts:
        for changed in _variants(shape, config, count):
            memory = memory_of(shape, changed, count, stored=stored)
            tried.append((changed, Layout(count, changed.tensor_parallel, memory, memory.total <= limit)))
            if tried[-1][1].fits:
                return tried[-1]
    return min(tried, key=lambda variant: variant[1].memory.total)


def _variants(shape: Shape, config: TrainConfig, devices: int) -> Iterable[TrainConfig]:
    for tensor in TENSOR_PARALLEL:
        if devices % tensor or any(n % tensor for n in (shape.groups, shape.ffn, shape.vocabulary)):
            continue
        for checkpointing in (False, True):
            yield config.model_copy(
                update={"tensor_parallel": tensor, "activation_checkpointing": checkpointing}
            )


def kind_of(name: str) -> str:
    """The name of a kind of GPU as in the tables. Raises SetupError for an unknown kind."""
    if name.upper() not in MEMORY:
        raise SetupError(f"unknown GPU {name}: choose one of {', '.join(MEMORY).lower()}")
    return name.upper()


def hours(
    shape: Shape, config: TrainConfig, tokens: float, document: float, kind: str, devices: int, mfu: float
) -> float:
    """Hours for `tokens` tokens in documents of mean length `document`, at a share `mfu` of the GPUs' peak.
    Every token is a target.

    DPO's reference takes one more forward pass over the pairs.
    """
    frozen = config.lora is not None
    flops = step_flops(shape, tokens, tokens * document, tokens, frozen) * config.epochs
    if config.objective == "dpo":
        flops += step_flops(shape, tokens, tokens * document, tokens) / 3
    return flops / (devices * DENSE_BF16[kind_of(kind)] * mfu) / 3600


def steps_of(config: TrainConfig, tokens: float) -> int:
    """Number of steps of a run over `tokens` tokens in full sequences."""
    return config.steps or math.ceil(
        config.epochs * tokens / (config.global_batch_size * config.sequence_length)
    )
