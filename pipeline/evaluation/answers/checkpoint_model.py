"""A checkpoint of ours as a model that answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.answers.exchange import (
    AnsweredQuestion,
    AnswerSampling,
    SpokenAnswer,
    SpokenQuestion,
)
from pipeline.inference.answer_vocoder import AudioChunk, open_answer_vocoder
from pipeline.inference.answerer import open_answerer, tokenize_question
from pipeline.inference.conversation import PastTurn, PromptMessage, prompt
from pipeline.inference.latency import Latency
from schemas.recording import Codes
from stages.train.vocoder.shape import RATE


class CheckpointModel:
    """Raises SetupError if the checkpoint or its vocoder can't be loaded, or don't fit each other."""

    def __init__(self, name: str, checkpoint: Path, vocoder: Path | None = None) -> None:
        self.name = name
        self._checkpoint = checkpoint
        self._answerer = open_answerer(checkpoint)
        self._vocoder = open_answer_vocoder(vocoder)
        self._vocoder.check(self._answerer.models)
        self._codes: dict[Path, Codes] = {}

    def about(self) -> dict[str, Any]:
        from stages.train.checkpoint import sha256

        return {
            "kind": "checkpoint",
            "place": str(self._checkpoint.resolve()),
            "sha256": sha256(self._checkpoint),
            "vocoder": self._vocoder.directory.name,
        }

    def answer(
        self, history: Sequence[AnsweredQuestion], question: SpokenQuestion, sampling: AnswerSampling
    ) -> SpokenAnswer:
        from stages.train.sampling import Answer, Sampling

        latency = Latency()
        messages: list[PromptMessage] = []
        for earlier in history:
            messages.append(self._past_question(earlier.question).as_message("human"))
            if not earlier.answer.empty:
                past = PastTurn.of(earlier.answer.text, earlier.answer.voices)
                messages.append(past.as_message("assistant"))
        messages.append(PromptMessage("human", (self._question(question),)))
        ids = prompt(messages, self._answerer.vocabulary)
        drawn = Sampling(sampling.temperature, seed=sampling.seed, max_tokens=sampling.max_tokens)
        events = self._answerer.answer(ids, self._answerer.form, drawn)
        pieces: list[Any] = []
        done: Answer | None = None
        for event in self._vocoder.speak(events, sampling.seed):
            latency.record(event)
            if isinstance(event, AudioChunk):
                pieces.append(event.samples)
            elif isinstance(event, Answer):
                done = event
        assert done is not None
        samples = np.concatenate(pieces) if pieces else None
        return SpokenAnswer(done.text, samples, RATE, done.voices, done.reason, latency.as_json())

    def _question(self, question: SpokenQuestion) -> Codes:
        if question.audio not in self._codes:
            self._codes[question.audio] = tokenize_question(self._answerer, str(question.audio)).codes
        return self._codes[question.audio]

    def _past_question(self, question: SpokenQuestion) -> PastTurn:
        """Its text where it is written, as in training, or else its codes."""
        return PastTurn.of(question.text or "", [self._question(question)])
