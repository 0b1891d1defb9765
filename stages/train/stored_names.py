"""Which tensors of a folder are a model's, where they stand behind a prefix or beside an image encoder."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import SetupError


@dataclass(frozen=True)
class StoredNames:
    of: Mapping[str, str]
    """Parameter -> its name in the folder."""
    left_out: tuple[str, ...]
    """Tensors beside the text model, which text and audio never touch."""

    @property
    def line(self) -> str:
        """`left out 24 tensors beside the text model: vision_model 20, projector 4`"""
        counts = Counter(name.split(".")[0] for name in self.left_out)
        parts = ", ".join(f"{module} {count:,}" for module, count in counts.items())
        return f"left out {len(self.left_out):,} tensors beside the text model: {parts}"


def stored_names(
    directory: Path, parameters: Collection[str], tensors: Collection[str], has_images: bool
) -> StoredNames:
    """Where the tensors of a folder are a model's: they have the names of its parameters, or one prefix is
    before all of them. Other tensors are left out only if the folder's model `has_images` and they are in
    no module of the text model.

    Raises SetupError for a parameter that is missing and for any other tensor, by name.
    """
    prefix = _prefix(parameters, tensors)
    for name in sorted(parameters):
        if prefix + name not in tensors:
            raise SetupError(f"{directory} lacks {prefix}{name}")
    of = {name: prefix + name for name in parameters}
    others = sorted(set(tensors) - set(of.values()))
    modules = {_module(name) for name in parameters}
    for name in others:
        if not has_images or (name.startswith(prefix) and _module(name.removeprefix(prefix)) in modules):
            raise SetupError(f"{directory} has a tensor that the model does not have: {name}")
    return StoredNames(of, tuple(others))


def _prefix(parameters: Collection[str], tensors: Collection[str]) -> str:
    """What is before the names of all parameters; empty if nothing, or not the same everywhere, is."""
    some = next(iter(parameters))
    found = {tensor.removesuffix(some) for tensor in tensors if tensor.endswith(f".{some}")}
    complete = [prefix for prefix in found if all(prefix + name in tensors for name in parameters)]
    return complete[0] if len(complete) == 1 else ""


def _module(name: str) -> str:
    """The module of a tensor, to the second level: `model.layers` of `model.layers.0.mlp.up_proj.weight`."""
    return ".".join(name.split(".")[:-1][:2])
