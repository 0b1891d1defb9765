"""Shapes of the Step-1 decoder: the public ones and three small ones."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar


@dataclass(frozen=True)
class Shape:
    """Determines every tensor of the decoder. Sizes in elements."""

    hidden: int
    ffn: int
    heads: int
    groups: int
    """Key and value heads, each shared by `heads // groups` query heads."""
    layers: int
    vocabulary: int = 74752
    context: int = 32768
    """Longest sequence; the weights don't depend on it."""

    DIVIDED: ClassVar = ("heads", "groups", "ffn", "vocabulary")
    """What tensor parallelism divides."""

    def __post_init__(self) -> None:
        if self.hidden % self.heads or self.heads % self.groups:
            raise ValueError(f"{self}: heads must divide hidden, and groups must divide heads")

    @property
    def head(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads

    @property
    def backbone_parameters(self) -> int:
        """Number of parameters without embeddings and head."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.groups * self.head
        layer = attention + 3 * self.hidden * self.ffn + 2 * self.hidden
        return self.layers * layer + self.hidden

    @property
    def parameters(self) -> int:
        return self.backbone_parameters + 2 * self.vocabulary * self.hidden

    def undivided_by(self, parts: int) -> str | None:
        """The first size that so many processes can't share, with its name; None if they can."""
        sizes = {name: getattr(self, name) for name in self.DIVIDED}
        return next((f"{name}, {size}" for name, size in sizes.items() if size % parts), None)

    def with_vocabulary(self, size: int) -> "Shape":
        return replace(self, vocabulary=size)


PRESETS = {
    "tiny": Shape(hidden=64, ffn=176, heads=4, groups=2, layers=2, context=2048),
    "talk": Shape(hidden=256, ffn=704, heads=8, groups=4, layers=6, vocabulary=6663, context=4096),
    "small": Shape(hidden=768, ffn=2048, heads=12, groups=4, layers=16),
    "step1-3b": Shape(hidden=3072, ffn=8192, heads=48, groups=4, layers=32),
    "step1-130b": Shape(hidden=12288, ffn=31232, heads=96, groups=8, layers=88),
}

NORM_EPS = 1e-5

STEP1 = "Step1ForCausalLM"

_PUBLIC = {
    "hidden": "hidden_size",
    "ffn": "intermediate_size",
    "heads": "num_attention_heads",
    "groups": "num_attention_groups",
    "layers": "num_hidden_layers",
    "vocabulary": "vocab_size",
    "context": "max_seq_len",
}
"""Field of `Shape` -> its key in the public config.json."""

_FOREIGN = _PUBLIC | {"groups": "num_key_value_heads", "context": "max_position_embeddings"}
"""The same in the config.json of most other models."""


def public_config(shape: Shape, dtype: str, specials: Mapping[str, int]) -> dict[str, Any]:
    """config.json of a checkpoint, as readers of `Step1ForCausalLM` expect it.

    `dtype` is the precision of the stored weights, "float32" or "bfloat16". `specials` are the ids of pad,
    bos, eos and eot; a text ends at either of the last two. Some readers use `max_position_embeddings` as the
    context, and tie the head to the embeddings by default.
    """
    sizes = {_PUBLIC[field.name]: getattr(shape, field.name) for field in fields(Shape)}
    return {
        "architectures": [STEP1],
        "model_type": "step1",
        "auto_map": {
            "AutoConfig": "configuration_step1.Step1Config",
            "AutoModelForCausalLM": f"modeling_step1.{STEP1}",
        },
        **sizes,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": NORM_EPS,
        "tie_word_embeddings": False,
        **_special_ids(specials),
        "torch_dtype": dtype,
    }


def generation_config(specials: Mapping[str, int]) -> dict[str, Any]:
    """generation_config.json: how the public models draw their answers."""
    return {**_special_ids(specials), "do_sample": True, "temperature": 0.7, "top_p": 0.9}


def _special_ids(specials: Mapping[str, int]) -> dict[str, Any]:
    return {
        "pad_token_id": specials["pad"],
        "bos_token_id": specials["bos"],
        "eos_token_id": [specials[name] for name in ("eos", "eot") if name in specials],
    }


def shape_of(config: dict[str, Any]) -> Shape:
    """The inverse of `public_config`. For the config.json of another model that is a similar decoder, a shape
    with about as many parameters. Raises KeyError if a size is missing."""
    keys = _PUBLIC if is_step1_config(config) else _FOREIGN
    if keys is _PUBLIC and config.get("rms_norm_eps", NORM_EPS) != NORM_EPS:
        raise ValueError(f"rms_norm_eps is {config['rms_norm_eps']}, not {NORM_EPS}")
    return Shape(**{name: int(config[key]) for name, key in keys.items()})


def is_step1_config(config: Mapping[str, Any]) -> bool:
    """Whether a config.json describes a Step-1 decoder: by its architecture, or by the names of its sizes, as
    in Step-Audio-AQAA, whose model has image encoders beside the decoder."""
    return STEP1 in (config.get("architectures") or ()) or all(key in config for key in _PUBLIC.values())
