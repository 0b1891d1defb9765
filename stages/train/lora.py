"""LoRA: the weights of a checkpoint stay as they are, and small matrices beside them are trained.

A projection with the frozen weight W [out, in] computes W x + alpha / rank * B A x. A [rank, in] begins
random and B [out, rank] as zeros, so that an adapted model begins as its base. Embeddings and head keep W
too; rows of tokens that were added to the vocabulary, which no correction of a projection can teach, are
trained as a copy that is used in place of theirs.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.errors import SetupError
from stages.train.added_rows import ADDED_ROWS, train_rows, with_rows
from stages.train.config import LoRAConfig
from stages.train.model import Backbone, Step1
from stages.train.sharded import own, region, whole

_ADAPTERS = ("lora_a", "lora_b", ADDED_ROWS)
"""Names of the parameters that are trained, within their modules."""


class AdaptedLinear(nn.Linear):
    """A projection with its correction; the names of its own parameters stay."""

    def __init__(self, linear: nn.Linear, config: LoRAConfig) -> None:
        device = linear.weight.device
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.lora_a = nn.Parameter(torch.empty(config.rank, linear.in_features, device=device))
        self.lora_b = nn.Parameter(torch.empty(linear.out_features, config.rank, device=device))
        self.scale = config.alpha / config.rank

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.scale * F.linear(F.linear(x, self.lora_a), self.lora_b)


def adapt(model: Backbone, config: LoRAConfig, vocabulary: Mapping[str, Any]) -> None:
    """Freeze a model and add adapters, in place, without values: see `initialise`. `vocabulary` is that
    section of a version's manifest. Raises SetupError for a target that the model doesn't have."""
    linears = {name: each for name, each in model.layers.named_modules() if type(each) is nn.Linear}
    kinds = {name.rpartition(".")[2] for name in linears}
    if unknown := set(config.targets or ()) - kinds:
        raise SetupError(
            f"lora.targets: the model's layers have no projection {min(unknown)}; they have "
            f"{', '.join(sorted(kinds))}"
        )
    for name, linear in linears.items():
        if config.targets is None or name.rpartition(".")[2] in config.targets:
            model.layers.set_submodule(name, AdaptedLinear(linear, config))
    if config.decided(is_foreign=not isinstance(model, Step1)).added_tokens:
        first = _first_added(vocabulary)
        for end in model.ends:
            train_rows(end, first, vocabulary["size"] - first)
    freeze_base(model)


def freeze_base(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_is_adapter(name))


def _first_added(vocabulary: Mapping[str, Any]) -> int:
    """The first of the ids of markers and codes, which are behind those of text."""
    first = int(vocabulary["linguistic"]["first"])
    while first - 1 in vocabulary["specials"].values():
        first -= 1
    return first


@torch.no_grad()
def initialise(model: Backbone, seed: int) -> None:
    """Adapters that change nothing yet, the same for a seed on any number of processes."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, AdaptedLinear):
            drawn = torch.empty(module.lora_a.shape)
            drawn.uniform_(-1, 1, generator=generator).mul_(module.in_features**-0.5)
            own(module.lora_a).copy_(drawn[region(module.lora_a)])
            own(module.lora_b).zero_()
    for end in model.ends:
        if (rows := getattr(end, ADDED_ROWS, None)) is not None:
            first = cast(int, end.first_row)
            initial = whole(cast(Tensor, end.weight))[first : first + len(rows)]
            own(rows).copy_(initial[region(rows)])


def base_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of a model without adapters: the tensors of its checkpoint."""
    return {name: each for name, each in model.state_dict().items() if not _is_adapter(name)}


def _is_adapter(name: str) -> bool:
    return name.rpartition(".")[2] in _ADAPTERS


class MergedTensors:
    """The tensors of a model that may be sharded, gathered one at a time, with its adapters merged into them.
    All processes must gather the same tensors in the same order."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._all = model.state_dict()
        self.parts = {name: each for name, each in self._all.items() if not _is_adapter(name)}
        """What this process holds of each, without adapters."""

    @torch.no_grad()
    def whole(self, name: str) -> Tensor:
        tensor = whole(self.parts[name])
        owner, _, own_name = name.rpartition(".")
        if own_name != "weight":
            return tensor
        a, b, rows = (self._all.get(f"{owner}.{adapter}") for adapter in _ADAPTERS)
        module = self._model.get_submodule(owner)
        if a is not None and b is not None:
            return tensor.float() + cast(float, module.scale) * (whole(b) @ whole(a))
        return tensor if rows is None else with_rows(tensor.float(), whole(rows), cast(int, module.first_row))
