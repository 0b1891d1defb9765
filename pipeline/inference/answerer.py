"""A spoken question into the tokens of an answer: what `aqaa-data answer` does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.inference.tokenize_files import Refused, Tokenized, config_of, tokenize_file
from pipeline.models import resolve
from pipeline.versions.provenance import MADE_BY
from schemas.errors import DataError, SetupError
from schemas.layout import GROUP_SECONDS
from schemas.vocabulary import Ids, Vocabulary
from stages.tokenize import TokenizeConfig, load_tokenizer
from stages.tokenize.tokenizer import Tokenizer

if TYPE_CHECKING:
    from stages.train.grammar import Form
    from stages.train.model import Backbone
    from stages.train.sampling import Answer, CodeGroup, Sampling, TextPiece


ENDING = 16
"""Tokens that bringing an answer to its end takes at most."""


@dataclass(frozen=True)
class Answerer:
    """A checkpoint with the tokenizers that its ids are of."""

    model: "Backbone"
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    form: "Form"
    """The order of text and speech that it was trained on."""
    models: Mapping[str, str]
    """The speech tokenizer's models: reference -> sha256."""

    def answer(
        self, prompt: Ids, form: "Form", sampling: "Sampling"
    ) -> "Iterator[TextPiece | CodeGroup | Answer]":
        """The answer as it comes. Raises DataError `too_long`."""
        from stages.train.backbone import reader_of
        from stages.train.sampling import answer

        return answer(reader_of(self.model), prompt, self.vocabulary, form, self._within(prompt, sampling))

    def candidates(self, prompt: Ids, form: "Form", samplings: "Sequence[Sampling]") -> "dict[int, Answer]":
        """The answer of each seed; the prompt is read once. Raises DataError `too_long`."""
        from stages.train.backbone import reader_of
        from stages.train.sampling import answer, answered

        samplings = [self._within(prompt, sampling) for sampling in samplings]
        reader = reader_of(self.model)
        reader.read(prompt[:-1].tolist())
        return {
            sampling.seed: answered(answer(reader.copy(), prompt[-1:], self.vocabulary, form, sampling))
            for sampling in samplings
        }

    def _within(self, prompt: Ids, sampling: "Sampling") -> "Sampling":
        """With no more tokens than the model's context has room for. Raises DataError where it has none."""
        room = self.model.shape.context - len(prompt) - ENDING
        if room < 1:
            raise DataError(
                "too_long",
                f"the question's {len(prompt):,} tokens, with earlier turns, leave no room for an answer in "
                f"the model's context of {self.model.shape.context:,}",
            )
        return replace(sampling, max_tokens=min(sampling.max_tokens, room))


def open_answerer(checkpoint: Path, tokenizer: str | None = None, vocabulary: str | None = None) -> Answerer:
    """Load a checkpoint and the tokenizers that its vocabulary.json names; `tokenizer` and `vocabulary` are
    references that stand in for these. Raises SetupError where something is missing or another than it was.
    """
    import torch

    from stages.train.backbone import load
    from stages.train.grammar import Form

    described = _described(checkpoint)
    made_by = described.get(MADE_BY, {})
    text = _vocabulary(checkpoint, described, vocabulary)
    speech, models = _speech(checkpoint, made_by, tokenizer)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load(checkpoint, device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    if model.shape.vocabulary < text.size:
        raise SetupError(
            f"{checkpoint}: its model has {model.shape.vocabulary:,} ids, its vocabulary {text.size:,}"
        )
    order = made_by.get("interleave")
    form = Form()
    if order is not None:
        n, m = order["ratio"]
        form = Form(order["mode"], (n, m), order["concatenation"] == "pre_interleaved")
    return Answerer(model, text, speech, form, models)


def tokenized(answerer: Answerer, question: str) -> Tokenized:
    """The codes of a question. Raises DataError for a file that can't be used, or holds under 120 ms."""
    found = tokenize_file(question, answerer.tokenizer)
    if isinstance(found, Refused):
        raise DataError(found.code, found.error)
    if not found.ids:
        raise DataError(
            "too_short", f"{found.seconds:.2f} s are too short for a group of codes ({GROUP_SECONDS} s)"
        )
    return found


def _described(checkpoint: Path) -> dict[str, Any]:
    from stages.train.checkpoint import VOCABULARY, read_vocabulary

    if not checkpoint.is_dir():
        raise SetupError(f"{checkpoint} is no checkpoint: there is no such folder")
    found = read_vocabulary(checkpoint)
    if found is None:
        raise SetupError(f"{checkpoint} has no {VOCABULARY}, so nobody knows what its ids mean")
    return found


def _vocabulary(checkpoint: Path, described: dict[str, Any], reference: str | None) -> Vocabulary:
    named = reference or described.get(MADE_BY, {}).get("vocabulary", {}).get("tokenizer")
    if named is None:
        raise SetupError(
            f"{checkpoint} doesn't say which text tokenizer its ids are of: name it with --vocabulary, such "
            "as package:whisper-base"
        )
    found = Vocabulary.of(described["name"], resolve(named).path)
    if found.describe()["sha256"] != described["sha256"]:
        raise SetupError(
            f"{checkpoint}: the tokenizer {named} is not the one that its ids are of "
            f"({described['tokenizer_sha256'][:12]}): name that one with --vocabulary"
        )
    return found


def _speech(
    checkpoint: Path, made_by: dict[str, Any], reference: str | None
) -> tuple[Tokenizer, dict[str, str]]:
    """The tokenizer, and the hashes of its models."""
    if reference is None and "tokenize" not in made_by:
        raise SetupError(
            f"{checkpoint} doesn't say which tokenizer its speech is of: name it with --tokenizer"
        )
    config = config_of(reference) if reference else TokenizeConfig.model_validate(made_by["tokenize"])
    models = {name: resolve(name) for name in config.models}
    for name, model in models.items():
        wanted = made_by.get("models", {}).get(name)
        if reference is None and wanted is not None and model.sha256 != wanted:
            raise SetupError(
                f"{checkpoint}: the speech tokenizer's {name} is not what it was when the data was built "
                f"({wanted[:12]}): its codes would mean something else. Name the one meant with --tokenizer"
            )
    tokenizer = load_tokenizer(config, {name: model.path for name, model in models.items()})
    return tokenizer, {name: model.sha256 for name, model in models.items()}
