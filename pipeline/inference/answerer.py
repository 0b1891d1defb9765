"""From a spoken question to the tokens of an answer, as `aqaa-data answer` and `aqaa-data serve` use it."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.inference.tokenize_files import Refused, Tokenized, config_of, tokenize_file
from pipeline.models import located, resolve
from pipeline.versions.provenance import MADE_BY
from schemas.errors import DataError, SetupError
from schemas.layout import GROUP_SECONDS
from schemas.vocabulary import Ids, Vocabulary
from stages.tokenize import TokenizeConfig, load_tokenizer
from stages.tokenize.tokenizer import Tokenizer

if TYPE_CHECKING:
    from stages.train.batch_sampling import Question
    from stages.train.grammar import Form
    from stages.train.model import Backbone
    from stages.train.sampling import Answer, CodeGroup, Sampling, TextPiece


LEAST_ROOM = 16
"""Tokens that there must be room for: fewer may hold little more than the end of an answer."""


@dataclass(frozen=True)
class Answerer:
    """A checkpoint with its text and speech tokenizers."""

    model: "Backbone"
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    form: "Form"
    """The order of text and speech it was trained on."""
    models: Mapping[str, str]
    """Models of the speech tokenizer: reference -> sha256."""
    note: str | None = None
    """What of the checkpoint is not used."""

    @property
    def context(self) -> int:
        """Most tokens of a prompt with its answer."""
        return self.model.shape.context

    @property
    def failure(self) -> str | None:
        """Why it can't answer any more: a process with a part of its model has ended."""
        from stages.train.split_model import SplitStep1

        return self.model.processes.failure if isinstance(self.model, SplitStep1) else None

    def answer(
        self, prompt: Ids, form: "Form", sampling: "Sampling"
    ) -> "Iterator[TextPiece | CodeGroup | Answer]":
        """Stream the answer. Raises DataError `too_long` if the prompt leaves no room for one."""
        from stages.train.backbone import reader_of
        from stages.train.sampling import answer

        return answer(
            reader_of(self.model), prompt, self.vocabulary, form, self.fit_to_context(prompt, sampling)
        )

    def question(self, prompt: Ids, samplings: "Sequence[Sampling]") -> "Question":
        """A prompt with the settings of its answers. Raises DataError `too_long`."""
        from stages.train.batch_sampling import Question

        return Question(prompt, [self.fit_to_context(prompt, sampling) for sampling in samplings])

    def answers(self, questions: "Iterable[Question]", form: "Form") -> "Iterator[list[Answer]]":
        """The answers to each question, in order; many are written at a time, except by a model with a cache
        of its own. A prompt is read only once."""
        from stages.train.batch_sampling import ROWS, answers
        from stages.train.model import Step1

        rows = ROWS if isinstance(self.model, Step1) else 1
        return answers(self.model, questions, self.vocabulary, form, rows)

    def batch(self, rows: int) -> "AnswersInSteps":
        """For up to `rows` answers at a time."""
        return LocalAnswers(self, rows)

    def fit_to_context(self, prompt: Ids, sampling: "Sampling") -> "Sampling":
        """Limit the answer to what fits the model's context. Raises DataError `too_long` if nothing fits."""
        room = self.context - len(prompt)
        if room < LEAST_ROOM:
            raise DataError(
                "too_long",
                f"the question, with earlier turns, has {len(prompt):,} tokens and leaves no room for an "
                f"answer in the model's context of {self.context:,}",
            )
        return replace(sampling, max_tokens=min(sampling.max_tokens, room))


class AnswersInSteps(Protocol):
    """Answers that are written at the same time, in one thread."""

    def answer(
        self, prompt: Ids, form: "Form", sampling: "Sampling"
    ) -> "Generator[TextPiece | CodeGroup | Answer | None, None, None]":
        """Stream an answer; None says that it waits for the next step. The first item is None: the prompt is
        taken.

        It takes part until it has ended or is closed. Raises DataError `too_long`.
        """

    def step(self) -> None:
        """To be called when all answers wait."""


class LocalAnswers:
    """A step writes the next id of all answers."""

    def __init__(self, answerer: Answerer, rows: int) -> None:
        from stages.train.batch_sampling import AnswerBatch

        self._answerer = answerer
        self._batch = AnswerBatch(answerer.model, rows)

    def answer(
        self, prompt: Ids, form: "Form", sampling: "Sampling"
    ) -> "Generator[TextPiece | CodeGroup | Answer | None, None, None]":
        from stages.train.batch_sampling import reader_before_last
        from stages.train.sampling import Writer

        answerer = self._answerer
        writer = Writer(prompt, answerer.vocabulary, form, answerer.fit_to_context(prompt, sampling))
        self._batch.join(reader_before_last(answerer.model, prompt), writer)
        try:
            while not writer.ended:
                yield None
                yield from writer.pieces(writer.last)
        finally:
            self._batch.leave(writer)
        yield writer.answer()

    def step(self) -> None:
        self._batch.step()


def open_answerer(
    checkpoint: Path, tokenizer: str | None = None, vocabulary: str | None = None, tensor_parallel: int = 1
) -> Answerer:
    """Load a checkpoint and the tokenizers named in its vocabulary.json. A public Step-Audio model, which has
    none, uses the text tokenizer beside its weights and the released speech tokenizer.

    `checkpoint` is a folder, a model reference or a short name; `tokenizer` and `vocabulary` are references
    that override the recorded ones; the model is divided among `tensor_parallel` processes. Raises SetupError
    if something is missing or has changed since the training data was built.
    """
    import torch

    from stages.train.backbone import inference_dtype, load
    from stages.train.checkpoint import checked_names
    from stages.train.split_model import open_split
    from stages.train.weights import SafetensorsFolder

    checkpoint = located(str(checkpoint))
    answerer = answerer_in(checkpoint, tokenizer, vocabulary)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = inference_dtype(device)
    if tensor_parallel == 1:
        model = load(checkpoint, device, dtype)
    else:
        model = open_split(checkpoint, tensor_parallel, device.type, dtype)
    stored = checked_names(model, SafetensorsFolder(checkpoint))
    return answerer(model, f"{checkpoint}: {stored.line}" if stored.left_out else None)


def answerer_in(
    checkpoint: Path, tokenizer: str | None = None, vocabulary: str | None = None
) -> "Callable[[Backbone, str | None], Answerer]":
    """`answerer_of` what a folder records."""
    from stages.train.public_checkpoint import SPEECH_TOKENIZER

    described, public = _described(checkpoint)
    speech = tokenizer or (SPEECH_TOKENIZER if public else None)
    return answerer_of(described, str(checkpoint), public, speech, vocabulary)


def answerer_of(
    described: Mapping[str, Any],
    name: str,
    text: Vocabulary | None = None,
    tokenizer: str | None = None,
    vocabulary: str | None = None,
) -> "Callable[[Backbone, str | None], Answerer]":
    """What makes an answerer of a model, also of one that is only in memory: everything but the model is
    loaded now. `described` is what is recorded about the model's ids, and `name` names it in messages."""
    from stages.train.grammar import Form

    made_by = described.get(MADE_BY, {})
    words = text or _vocabulary(name, described, vocabulary)
    speech, models = _speech(name, made_by, tokenizer)
    form = Form()
    if (order := made_by.get("interleave")) is not None:
        n, m = order["ratio"]
        form = Form(order["mode"], (n, m), order["concatenation"] == "pre_interleaved")

    def answerer(model: "Backbone", note: str | None = None) -> Answerer:
        if model.shape.vocabulary < words.size:
            raise SetupError(
                f"{name}: its model has {model.shape.vocabulary:,} ids, but its vocabulary {words.size:,}"
            )
        return Answerer(model, words, speech, form, models, note)

    return answerer


def tokenize_question(answerer: Answerer, question: str) -> Tokenized:
    """The codes of a question. Raises DataError if the file can't be used or is shorter than 120 ms."""
    result = tokenize_file(question, answerer.tokenizer)
    if isinstance(result, Refused):
        raise DataError(result.code, result.error)
    if not result.ids:
        raise DataError(
            "too_short", f"{result.seconds:.2f} s is too short for a group of codes ({GROUP_SECONDS} s)"
        )
    return result


def _described(checkpoint: Path) -> tuple[dict[str, Any], Vocabulary | None]:
    """What a checkpoint records about its ids, and its vocabulary if it is a public one that records none."""
    from stages.train.checkpoint import VOCABULARY, read_vocabulary
    from stages.train.public_checkpoint import public_vocabulary

    if not checkpoint.is_dir():
        raise SetupError(f"{checkpoint} is not a checkpoint: there is no such folder")
    described = read_vocabulary(checkpoint)
    if described is None and (public := public_vocabulary(checkpoint)) is not None:
        return public.describe(), public
    if described is None:
        raise SetupError(f"{checkpoint} has no {VOCABULARY}, so the meaning of its ids is unknown")
    return described, None


def _vocabulary(checkpoint: str, described: Mapping[str, Any], reference: str | None) -> Vocabulary:
    named = reference or described.get(MADE_BY, {}).get("vocabulary", {}).get("tokenizer")
    if named is None:
        raise SetupError(
            f"{checkpoint} doesn't name its text tokenizer: give it with --vocabulary, for example "
            "package:whisper-base"
        )
    path = resolve(named).path
    try:
        return Vocabulary.described(described, path)
    except SetupError as error:
        raise SetupError(
            f"{checkpoint} was not trained with the text tokenizer {named}: {error}: give that one with "
            "--vocabulary"
        ) from None


def _speech(
    checkpoint: str, made_by: Mapping[str, Any], reference: str | None
) -> tuple[Tokenizer, dict[str, str]]:
    """The speech tokenizer, and the hashes of its models."""
    if reference is None and "tokenize" not in made_by:
        raise SetupError(f"{checkpoint} doesn't name its speech tokenizer: give it with --tokenizer")
    config = config_of(reference) if reference else TokenizeConfig.model_validate(made_by["tokenize"])
    models = {name: resolve(name) for name in config.models}
    for name, model in models.items():
        expected = made_by.get("models", {}).get(name)
        if reference is None and expected is not None and model.sha256 != expected:
            raise SetupError(
                f"{checkpoint}: {name} of the speech tokenizer has changed since the data was built "
                f"({expected[:12]}), so its codes have another meaning: give the original with --tokenizer"
            )
    tokenizer = load_tokenizer(config, {name: model.path for name, model in models.items()})
    return tokenizer, {name: model.sha256 for name, model in models.items()}
