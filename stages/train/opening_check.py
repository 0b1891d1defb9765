"""What a foreign language model must do to be trained here, tried on its first layers with their own weights.

The layers are those up to the last new kind of layer, so that a model of several kinds is tried whole and a
large one still fits into memory.
"""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from schemas.errors import SetupError
from stages.train.backbone import HuggingFace, positions_within
from stages.train.weights import SafetensorsFolder

LENGTHS = (7, 9)
"""Tokens of the documents that are packed."""
TOLERANCE = 1e-4
"""Most that states may differ, as a share of the largest: rounding is far below."""


@torch.no_grad()
def check_backbone(directory: Path) -> bool:
    """Whether the model of a folder has a table of positions, so that longer documents than it was made for
    are impossible. Raises SetupError if it can't be trained right: if documents of a sequence see each other,
    or if something is drawn in training."""
    model = _first_layers(directory)
    generator = torch.Generator().manual_seed(0)
    x_1LD = torch.randn(1, sum(LENGTHS), model.shape.hidden, generator=generator)
    documents_1L = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))[None]
    positions_1L = positions_within(documents_1L)
    packed_1LD = _states(model.eval(), x_1LD, positions_1L)
    start = 0
    for length in LENGTHS:
        part = slice(start, start + length)
        alone_1LD = _states(model, x_1LD[:, part], positions_1L[:, part])
        if not _equal(packed_1LD[:, part], alone_1LD):
            raise SetupError(
                f"{directory} can't be trained: documents that are packed into one sequence see each other "
                f"in {_kind(model)}, through layers that pass a state on. Choose a model of attention layers"
            )
        start += length
    if not _equal(_states(model.train(), x_1LD, positions_1L), packed_1LD):
        raise SetupError(
            f"{directory} can't be trained: {_kind(model)} draws something in training, such as noise on its "
            "routes, so that a run could not be repeated. Set it to 0 in config.json"
        )
    return _has_table(model, x_1LD[:, :1])


def _states(model: HuggingFace, x_1LD: Tensor, positions_1L: Tensor) -> Tensor:
    output = model.base(inputs_embeds=x_1LD, position_ids=positions_1L, use_cache=False)
    return cast(Tensor, output.last_hidden_state)


def _equal(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= TOLERANCE * a.abs().max())


def _has_table(model: HuggingFace, x_11D: Tensor) -> bool:
    """Whether the position after the last is an error."""
    try:
        _states(model.eval(), x_11D, torch.tensor([[model.shape.context + 2]]))
    except IndexError:
        return True
    return False


@torch.no_grad()
def _first_layers(directory: Path) -> HuggingFace:
    """The model in float32 up to its last new kind of layer. Embeddings and head have no weights."""
    with torch.device("meta"):
        model = HuggingFace(directory)
    kinds = [_shapes(layer) for layer in model.layers]
    del model.layers[max(kinds.index(kind) for kind in kinds) + 1 :]
    model.to_empty(device="cpu")
    weights = SafetensorsFolder(directory)
    ends = {id(parameter) for end in model.ends for parameter in end.parameters()}
    for name, parameter in model.state_dict(keep_vars=True).items():
        if id(parameter) not in ends:
            parameter.copy_(weights.tensor(name))
    return model


def _shapes(layer: nn.Module) -> list[tuple[str, str]]:
    """What is equal in layers of the same kind."""
    return [(name, str(tuple(tensor.shape))) for name, tensor in layer.named_parameters()]


def _kind(model: HuggingFace) -> str:
    return str(model.config.model_type)
