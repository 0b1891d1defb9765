"""Models of every kind: the Step-1 decoder, or any causal language model of Hugging Face with its own code.

The folder of a foreign model is first extended with the audio vocabulary (`extend`). From then on it is a
checkpoint like others: `blank` builds the model of a folder, `load` also loads its weights, and transformers
can read what is saved.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from schemas.errors import SetupError
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, SPECIALS, Vocabulary
from stages.train.added_rows import weight_of
from stages.train.cache import Reader, Step1Reader
from stages.train.checkpoint import VOCABULARY, is_step1, load_into, read_shape
from stages.train.loss import token_losses
from stages.train.model import CONFIG, Backbone, Step1
from stages.train.split_model import SplitReader, SplitStep1
from stages.train.weights import LoadedTensors, SafetensorsFolder, Spec, write_weights

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
ROWS = 64
"""The number of rows of embeddings and head is a multiple of this."""

_SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
"""Settings of models that scale or cap their logits, which are then not just states times head."""


def blank(directory: Path) -> Backbone:
    """The model of a checkpoint's folder without its weights; call it under `torch.device("meta")`."""
    return Step1(read_shape(directory)) if is_step1(directory) else HuggingFace(directory)


def load(directory: Path, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Backbone:
    """The model of a folder, for inference. Raises SetupError if the folder is not a checkpoint."""
    with torch.device("meta"):
        model = blank(directory)
    model = for_inference(model, device, dtype)
    load_into(model, directory)
    return model


def for_inference(model: Backbone, device: torch.device | str, dtype: torch.dtype) -> Backbone:
    """A model on the meta device as one that only answers, with memory for weights but none in it."""
    for parameter in model.parameters():  # and not buffers: rotary frequencies are float32
        parameter.data = parameter.data.to(dtype)
    model.to_empty(device=device)
    return model.requires_grad_(False).eval()


def inference_dtype(device: torch.device) -> torch.dtype:
    """In which models answer on a device."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def reader_of(model: Backbone) -> Reader:
    """A reader at the beginning of a sequence."""
    if isinstance(model, SplitStep1):
        return SplitReader(model.processes)
    return Step1Reader(model) if isinstance(model, Step1) else HuggingFaceReader(cast(HuggingFace, model))


class HuggingFace(Backbone):
    """A causal language model of a folder that `AutoModelForCausalLM` reads, unchanged.

    Its modules keep their names, so that state dicts match the folder. Documents of a sequence are separated
    by their positions, which start at 0 in each: transformers derives the mask from them (`masking_utils`),
    for SDPA as for its other attention implementations.
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
            raise SetupError(f"{directory} can't be used as a backbone: {reason}") from None
        self.directory = directory
        self.shape = read_shape(directory)
        for name, module in causal.named_children():
            self.add_module(name, module)
        self._names = _names(causal)
        self._fill_buffers = causal._init_weights
        _draw_nothing(causal, self.config)
        head = causal.get_output_embeddings()
        scaled = [name for name in _SCALED if getattr(self.config, name, None) not in (None, 1)]
        if head is None or head.bias is not None or scaled:
            raise SetupError(
                f"{directory}: the logits of {type(causal).__name__} are not its states times its head "
                f"({', '.join(scaled) or 'a bias'}): training doesn't support that"
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
        """As for any module, but also fills buffers that are in no checkpoint, such as rotary frequencies.
        Raises SetupError for a buffer that the library's own code for this doesn't fill."""
        super().to_empty(device=device, recurse=recurse)
        for name, module in self.named_modules():
            names = module._non_persistent_buffers_set
            buffers = {key: buffer for key, buffer in module.named_buffers(recurse=False) if key in names}
            for buffer in buffers.values():
                buffer.fill_(_unfilled(buffer.dtype))
            if buffers:
                # Weights come from the checkpoint: those that are marked are not drawn.
                for parameter in module.parameters(recurse=False):
                    parameter._is_hf_initialized = True  # type: ignore[attr-defined]
                self._fill_buffers(module)
            for key, buffer in buffers.items():
                left = buffer.isnan() if buffer.is_floating_point() else buffer == _unfilled(buffer.dtype)
                if buffer.dtype != torch.bool and left.any():
                    raise SetupError(
                        f"{self.directory} can't be used: {name}.{key} is in no checkpoint, and "
                        "transformers doesn't say what is in it"
                    )
        return self

    def losses(self, tokens_BL: Tensor, documents_BL: Tensor, at_N: Tensor, targets_N: Tensor) -> Tensor:
        x_BLD = self.states(tokens_BL, documents_BL)
        head_VD = weight_of(self.ends[1])
        return token_losses(x_BLD.flatten(0, 1).index_select(0, at_N), head_VD, targets_N)

    def states(self, tokens_BL: Tensor, documents_BL: Tensor) -> Tensor:
        """The head's inputs: x_BLD."""
        positions_BL = positions_within(documents_BL)
        output = self.base(input_ids=tokens_BL, position_ids=positions_BL, use_cache=False)
        return cast(Tensor, output.last_hidden_state)

    def files(self, dtype: torch.dtype, specials: Mapping[str, int]) -> dict[str, str]:
        config = json.loads((self.directory / CONFIG).read_text())
        config |= {"dtype": str(dtype).removeprefix("torch.")}
        names = [name for name in TOKENIZER if (self.directory / name).exists()]
        files = {name: (self.directory / name).read_text(encoding="utf-8") for name in names}
        return files | {CONFIG: json.dumps(config, indent=2) + "\n"}


def _draw_nothing(causal: nn.Module, config: Any) -> None:
    """Set every dropout to 0: what training computes then depends on weights and data alone."""
    for module in causal.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for owner in (config, *causal.modules()):
        for name, value in list(vars(owner).items()):
            if "drop" in name and isinstance(value, float):
                setattr(owner, name, 0.0)


def _unfilled(dtype: torch.dtype) -> float:
    """A value that no buffer holds."""
    if dtype == torch.bool:
        return False
    return math.nan if dtype.is_floating_point else torch.iinfo(dtype).min


def positions_within(documents_BL: Tensor) -> Tensor:
    """Position of each token within its document, from 0."""
    at_BL = torch.arange(documents_BL.shape[1], device=documents_BL.device).expand_as(documents_BL)
    starts_BL = torch.ones_like(documents_BL, dtype=torch.bool)
    starts_BL[:, 1:] = documents_BL[:, 1:] != documents_BL[:, :-1]
    return at_BL - at_BL.where(starts_BL, 0).cummax(1).values


def _names(causal: Any) -> dict[str, str]:
    """Names of the modules with a certain role in a model."""
    name_of = {id(module): name for name, module in causal.named_modules()}
    base = causal.base_model
    layers = max((m for m in base.modules() if isinstance(m, nn.ModuleList)), key=len)
    parts = {
        "base": base,
        "embeddings": causal.get_input_embeddings(),
        "head": causal.get_output_embeddings(),
        "layers": layers,
    }
    return {part: name_of[id(module)] for part, module in parts.items() if module is not None}


class HuggingFaceReader:
    """Uses the model's own key-value cache."""

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
        output = self._model.base(
            input_ids=tokens_1L, position_ids=at_1L, past_key_values=self._cache, use_cache=True
        )
        self._length += len(ids)
        return cast(Tensor, head(output.last_hidden_state[0, -1]))

    def copy(self) -> "HuggingFaceReader":
        other = HuggingFaceReader(self._model)
        other._cache, other._length = deepcopy(self._cache), self._length
        return other


def extend(source: Path, target: Path) -> Vocabulary:
    """Write a copy of a foreign model with the audio vocabulary appended to its tokenizer, embeddings and
    head. New rows are the mean of the others. A head that is tied to the embeddings gets its own weights.

    Raises SetupError if the folder has no causal language model with a fast tokenizer.
    """
    vocabulary = Vocabulary.extended(source)
    with torch.device("meta"):
        model = HuggingFace(source)
    weights = _named_as_in(model, SafetensorsFolder(source))
    embeddings, head = (f"{model._names[end]}.weight" for end in ("embeddings", "head"))
    missing = _missing_specials(source)
    first = vocabulary.linguistic - len(missing)
    if weights.specs[embeddings].shape[0] < first:
        raise SetupError(f"{source}: its tokenizer has {first:,} ids, but {embeddings} has fewer rows")
    source_of = {name: name if name in weights.specs else embeddings for name in (embeddings, head)}
    rows = -(-vocabulary.size // ROWS) * ROWS
    specs = [
        Spec(name, weights.specs[source_of.get(name, name)].dtype, (rows, *tuple(parameter.shape)[1:]))
        if name in source_of
        else weights.specs[name]
        for name, parameter in model.state_dict().items()
    ]

    def pieces(spec: Spec) -> Iterator[Tensor]:
        if spec.name not in source_of:
            yield weights.tensor(spec.name)
            return
        existing = weights.rows(source_of[spec.name], 0, first)
        yield existing
        yield existing.float().mean(0, keepdim=True).to(existing.dtype).expand(rows - first, -1)

    target.mkdir(parents=True, exist_ok=True)
    write_weights(target, specs, pieces)
    config = json.loads((source / CONFIG).read_text()) | {"vocab_size": rows, "tie_word_embeddings": False}
    (target / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    for name in TOKENIZER[1:]:
        if (source / name).exists():
            (target / name).write_bytes((source / name).read_bytes())
    _extend_tokenizer(source / TOKENIZER[0], target / TOKENIZER[0], vocabulary, missing)
    (target / VOCABULARY).write_text(json.dumps(vocabulary.describe(), indent=2) + "\n")
    return vocabulary


def _named_as_in(model: HuggingFace, weights: SafetensorsFolder) -> SafetensorsFolder | LoadedTensors:
    """The tensors of a folder under the names of its model. Where the library renames or joins them when it
    loads a model, as for experts, it loads this one, into memory."""
    head = f"{model._names['head']}.weight"  # may be tied, and is then in no file
    if model.state_dict().keys() - {head} <= weights.specs.keys():
        return weights
    from transformers import AutoModelForCausalLM

    opened: Any = AutoModelForCausalLM.from_pretrained(
        weights.directory, local_files_only=True, dtype="auto", output_loading_info=True
    )
    causal, loaded = opened
    if loaded["missing_keys"]:
        raise SetupError(f"{weights.directory} lacks {min(loaded['missing_keys'])}")
    return LoadedTensors(causal.state_dict())


def _missing_specials(source: Path) -> list[str]:
    """Special tokens that a tokenizer doesn't have."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source / TOKENIZER[0]))
    return [special for special, name in SPECIALS.items() if tokenizer.token_to_id(name) is None]


def _extend_tokenizer(source: Path, target: Path, vocabulary: Vocabulary, missing: list[str]) -> None:
    """Write the tokenizer with the new ids as special tokens: `<audio_start>`, .., `<audio_0>`, .."""
    document = json.loads(source.read_text(encoding="utf-8"))
    named = {SPECIALS[special]: getattr(vocabulary, special) for special in missing}
    named |= {f"<audio_{n}>": vocabulary.linguistic + n for n in range(LINGUISTIC_CODES + SEMANTIC_CODES)}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": id, "content": name, **plain, "special": True} for name, id in named.items()]
    document["added_tokens"] = [*(document.get("added_tokens") or ()), *added]
    target.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
