"""Models of every kind: the Step-1 decoder, or any causal language model of Hugging Face with its own code.

A foreign model's folder is first extended by the audio vocabulary (`extend`); from then on it is a
checkpoint like others: `blank` makes the model that a folder is of, `load` fills it, and transformers reads
what is saved.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from schemas.errors import SetupError
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, SPECIALS, Vocabulary
from stages.train.cache import Reader, Step1Reader
from stages.train.checkpoint import VOCABULARY, is_step1, load_into, read_shape
from stages.train.loss import token_losses
from stages.train.model import CONFIG, Backbone, Step1
from stages.train.weights import SafetensorsFolder, Spec, write_weights

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
ROWS = 64
"""Rows of embeddings and head are a multiple of this."""

_SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
"""Settings of models whose logits are more than states times head."""


def blank(directory: Path) -> Backbone:
    """The model of a checkpoint's folder, without its numbers when made under `torch.device("meta")`."""
    return Step1(read_shape(directory)) if is_step1(directory) else HuggingFace(directory)


def load(directory: Path, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Backbone:
    """The model of a folder, to be asked for answers. Raises SetupError where it is none."""
    with torch.device("meta"):
        model = blank(directory).to(dtype)
    model.to_empty(device=device)
    load_into(model, directory)
    return model.requires_grad_(False).eval()


def reader_of(model: Backbone) -> Reader:
    """The model at the beginning of a sequence."""
    return Step1Reader(model) if isinstance(model, Step1) else HuggingFaceReader(cast(HuggingFace, model))


class HuggingFace(Backbone):
    """A causal language model of a folder that `AutoModelForCausalLM` reads, with nothing of it changed.

    Its modules stand here under their own names, so that state dicts are those of the folder. Documents of a
    sequence are told apart by their positions, which begin again at 0 in each: transformers makes the mask
    of that (`masking_utils`), for SDPA as for its other kinds of attention.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModelForCausalLM

        try:
            self.config = AutoConfig.from_pretrained(directory, local_files_only=True)
            causal = AutoModelForCausalLM.from_config(
                self.config, dtype=torch.float32, attn_implementation="sdpa"
            )
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().split("\n", 1)[0]
            raise SetupError(f"{directory} is no language model that serves as backbone: {reason}") from None
        self.directory = directory
        self.shape = read_shape(directory)
        for name, module in causal.named_children():
            self.add_module(name, module)
        self._names = _names(causal)
        self._fill_buffers = causal._init_weights
        head = causal.get_output_embeddings()
        scaled = [name for name in _SCALED if getattr(self.config, name, None) not in (None, 1)]
        if head is None or head.bias is not None or scaled:
            raise SetupError(
                f"{directory}: {type(causal).__name__} has logits that are not its states times its head "
                f"({', '.join(scaled) or 'a bias'}): it can't be trained here"
            )

    @property
    def base(self) -> nn.Module:
        """Everything below the head."""
        return self.get_submodule(self._names["base"])

    @property
    def ends(self) -> tuple[nn.Module, nn.Module]:
        return self.get_submodule(self._names["embeddings"]), self.get_submodule(self._names["head"])

    @property
    def layers(self) -> nn.ModuleList:  # type: ignore[override]
        return cast(nn.ModuleList, self.get_submodule(self._names["layers"]))

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """As of any module; but buffers that no checkpoint holds, such as rotary frequencies, are filled."""
        super().to_empty(device=device, recurse=recurse)
        for module in self.modules():
            if list(module.buffers(recurse=False)) and not list(module.parameters(recurse=False)):
                self._fill_buffers(module)
        return self

    def losses(self, tokens_BL: Tensor, documents_BL: Tensor, at_N: Tensor, targets_N: Tensor) -> Tensor:
        x_BLD = self.states(tokens_BL, documents_BL)
        head_VD = cast(Tensor, self.ends[1].weight)
        return token_losses(x_BLD.flatten(0, 1).index_select(0, at_N), head_VD, targets_N)

    def states(self, tokens_BL: Tensor, documents_BL: Tensor) -> Tensor:
        """What the head reads: x_BLD."""
        positions_BL = positions_within(documents_BL)
        found = self.base(input_ids=tokens_BL, position_ids=positions_BL, use_cache=False)
        return cast(Tensor, found.last_hidden_state)

    def files(self, dtype: torch.dtype, specials: Mapping[str, int]) -> dict[str, str]:
        config = json.loads((self.directory / CONFIG).read_text())
        config |= {"dtype": str(dtype).removeprefix("torch.")}
        there = [name for name in TOKENIZER if (self.directory / name).exists()]
        told = {name: (self.directory / name).read_text(encoding="utf-8") for name in there}
        return told | {CONFIG: json.dumps(config, indent=2) + "\n"}


def positions_within(documents_BL: Tensor) -> Tensor:
    """Position of each token in its own document, from 0."""
    at_BL = torch.arange(documents_BL.shape[1], device=documents_BL.device).expand_as(documents_BL)
    begins_BL = torch.ones_like(documents_BL, dtype=torch.bool)
    begins_BL[:, 1:] = documents_BL[:, 1:] != documents_BL[:, :-1]
    return at_BL - at_BL.where(begins_BL, 0).cummax(1).values


def _names(causal: Any) -> dict[str, str]:
    """Where in a model its parts stand."""
    of = {id(module): name for name, module in causal.named_modules()}
    base = causal.base_model
    layers = max((m for m in base.modules() if isinstance(m, nn.ModuleList)), key=len)
    parts = {
        "base": base,
        "embeddings": causal.get_input_embeddings(),
        "head": causal.get_output_embeddings(),
        "layers": layers,
    }
    return {part: of[id(module)] for part, module in parts.items() if module is not None}


class HuggingFaceReader:
    """Reads with the model's own cache."""

    def __init__(self, model: HuggingFace) -> None:
        from transformers import DynamicCache

        self._model = model
        self._cache = DynamicCache(config=model.config)
        self._length = 0

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> Tensor:
        embeddings, head = self._model.ends
        tokens_1L = torch.tensor([list(ids)], device=cast(Tensor, embeddings.weight).device)
        at_1L = torch.arange(self._length, self._length + len(ids), device=tokens_1L.device)[None]
        found = self._model.base(
            input_ids=tokens_1L, position_ids=at_1L, past_key_values=self._cache, use_cache=True
        )
        self._length += len(ids)
        return cast(Tensor, head(found.last_hidden_state[0, -1]))

    def copy(self) -> "HuggingFaceReader":
        other = HuggingFaceReader(self._model)
        other._cache, other._length = deepcopy(self._cache), self._length
        return other


def extend(source: Path, target: Path) -> Vocabulary:
    """Write a foreign model whose tokenizer, embeddings and head have the audio vocabulary behind their own,
    new rows the mean of the others. A head that is tied to the embeddings gets weights of its own.

    Raises SetupError where the folder is none of a causal language model with a fast tokenizer.
    """
    vocabulary = Vocabulary.extended(source)
    with torch.device("meta"):
        model = HuggingFace(source)
    weights = SafetensorsFolder(source)
    embeddings, head = (f"{model._names[end]}.weight" for end in ("embeddings", "head"))
    lacking = _lacking(source)
    first = vocabulary.linguistic - len(lacking)
    if weights.specs[embeddings].shape[0] < first:
        raise SetupError(f"{source}: its tokenizer has {first:,} ids, and {embeddings} fewer rows")
    held_by = {name: name if name in weights.specs else embeddings for name in (embeddings, head)}
    rows = -(-vocabulary.size // ROWS) * ROWS
    specs = [
        Spec(name, weights.specs[held_by.get(name, name)].dtype, (rows, *tuple(parameter.shape)[1:]))
        if name in held_by
        else weights.specs[name]
        for name, parameter in model.state_dict().items()
    ]

    def pieces(spec: Spec) -> Iterator[Tensor]:
        if spec.name not in held_by:
            yield weights.tensor(spec.name)
            return
        known = weights.rows(held_by[spec.name], 0, first)
        yield known
        yield known.float().mean(0, keepdim=True).to(known.dtype).expand(rows - first, -1)

    target.mkdir(parents=True, exist_ok=True)
    write_weights(target, specs, pieces)
    config = json.loads((source / CONFIG).read_text()) | {"vocab_size": rows, "tie_word_embeddings": False}
    (target / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    for name in TOKENIZER[1:]:
        if (source / name).exists():
            (target / name).write_bytes((source / name).read_bytes())
    _extend_tokenizer(source / TOKENIZER[0], target / TOKENIZER[0], vocabulary, lacking)
    (target / VOCABULARY).write_text(json.dumps(vocabulary.describe(), indent=2) + "\n")
    return vocabulary


def _lacking(source: Path) -> list[str]:
    """Specials that a tokenizer doesn't know."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source / TOKENIZER[0]))
    return [special for special, name in SPECIALS.items() if tokenizer.token_to_id(name) is None]


def _extend_tokenizer(source: Path, target: Path, vocabulary: Vocabulary, lacking: list[str]) -> None:
    """The tokenizer with the new ids as special tokens: `<audio_start>`, .., `<audio_0>`, .."""
    document = json.loads(source.read_text(encoding="utf-8"))
    named = {SPECIALS[special]: getattr(vocabulary, special) for special in lacking}
    named |= {f"<audio_{n}>": vocabulary.linguistic + n for n in range(LINGUISTIC_CODES + SEMANTIC_CODES)}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": id, "content": name, **plain, "special": True} for name, id in named.items()]
    document["added_tokens"] = [*(document.get("added_tokens") or ()), *added]
    target.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
