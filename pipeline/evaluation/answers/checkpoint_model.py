"""A checkpoint of ours as a model that answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.answers.exchange import (
    AnsweredQuestion,
    AnswerSampling,
    SpokenAnswer,
    SpokenQuestion,
)
from pipeline.inference.answer_vocoder import AnswerVocoder, AudioChunk, open_answer_vocoder
from pipeline.inference.answerer import Answerer, tokenize_question
from pipeline.inference.conversation import PastTurn, PromptMessage, prompt
from pipeline.inference.latency import Latency
from pipeline.inference.remote_answerer import ModelEndpoint, open_answerer_at
from schemas.recording import Codes
from stages.train.vocoder.shape import RATE


class CheckpointModel:
    """A loaded model, also one that is being trained. Without a vocoder its answers have no sound."""

    def __init__(
        self,
        name: str,
        answerer: Answerer,
        vocoder: AnswerVocoder | None,
        about: Mapping[str, Any],
        codes: dict[Path, Codes] | None = None,
    ) -> None:
        """`codes` keeps those of questions; models with the same tokenizer can share it."""
        self.name = name
        self._answerer = answerer
        self._vocoder = vocoder
        self._about = about
        self._codes: dict[Path, Codes] = {} if codes is None else codes

    def about(self) -> dict[str, Any]:
        return dict(self._about)

    def answer(
        self, history: Sequence[AnsweredQuestion], question: SpokenQuestion, sampling: AnswerSampling
    ) -> SpokenAnswer:
        from stages.train.sampling import Answer, Sampling

        latency = Latency()
        messages: list[PromptMessage] = []
        for earlier in history:
            messages.append(self._past_question(earlier.question).as_message("human"))
            if earlier.answer.text.strip() or earlier.answer.voices:
                past = PastTurn.of(earlier.answer.text, earlier.answer.voices)
                messages.append(past.as_message("assistant"))
        messages.append(PromptMessage("human", (self._question(question),)))
        ids = prompt(messages, self._answerer.vocabulary)
        drawn = Sampling(sampling.temperature, seed=sampling.seed, max_tokens=sampling.max_tokens)
        events = self._answerer.answer(ids, self._answerer.form, drawn)
        pieces: list[Any] = []
        done: Answer | None = None
        for event in self._vocoder.speak(events, sampling.seed) if self._vocoder else events:
            latency.record(event)
            if isinstance(event, AudioChunk):
                pieces.append(event.samples)
            elif isinstance(event, Answer):
                done = event
        assert done is not None
        samples = np.concatenate(pieces) if pieces else None
        broken = {str(rule): count for rule, count in done.obedience.broken.items()}
        grammar = {"steps": done.obedience.steps, **broken}
        return SpokenAnswer(
            done.text, samples, RATE, done.voices, done.reason, latency.as_json(), grammar=grammar
        )

    def _question(self, question: SpokenQuestion) -> Codes:
        if question.audio not in self._codes:
            self._codes[question.audio] = tokenize_question(self._answerer, str(question.audio)).codes
        return self._codes[question.audio]

    def _past_question(self, question: SpokenQuestion) -> PastTurn:
        """Its text where it is written, as in training, or else its codes."""
        return PastTurn.of(question.text or "", [self._question(question)])


def open_checkpoint_model(
    name: str,
    checkpoint: Path,
    vocoder: Path | None = None,
    endpoint: ModelEndpoint | None = None,
    voice: Path | None = None,
) -> CheckpointModel:
    """The checkpoint of a folder, with the vocoder of another folder or the bundled one, and its `voice`;
    with an `endpoint` the model runs there.

    Raises SetupError if one of them can't be loaded, or if they don't fit each other.
    """
    from stages.train.checkpoint import sha256

    answer_vocoder = open_answer_vocoder(vocoder, voiced=voice is not None)
    answerer = open_answerer_at(endpoint, checkpoint)
    answer_vocoder.check(answerer.models, answerer.tokenizer)
    if voice is not None:
        answer_vocoder = answer_vocoder.with_voice(voice, answerer.tokenizer, answerer.models)
    # What a server runs may differ from the folder, which isn't said to be evaluated then.
    kind: dict[str, Any]
    if endpoint is None:
        kind = {"kind": "checkpoint", "sha256": sha256(checkpoint)}
    else:
        kind = {"kind": "served checkpoint", "endpoint": endpoint.config.url, "model": endpoint.config.model}
    about = kind | {"place": str(checkpoint.resolve()), "vocoder": answer_vocoder.directory.name}
    if voice is not None:
        about["voice"] = voice.name
    return CheckpointModel(name, answerer, answer_vocoder, about)
