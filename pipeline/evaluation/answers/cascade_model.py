"""The baseline of three parts: a recogniser, a text endpoint, and a packaged voice."""

import io
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.evaluation.answers.exchange import (
    AnsweredQuestion,
    AnswerSampling,
    SpokenAnswer,
    SpokenQuestion,
)
from pipeline.evaluation.answers.voices import PackagedVoices
from schemas.chat import ChatMessage
from schemas.errors import DataError
from stages.decode.config import DecodeConfig
from stages.decode.whole import read_whole
from stages.endpoint import Endpoint, EndpointConfig
from stages.replies import Replies
from stages.synthesize.answers import ANSWER, complete
from stages.tokenize.resample import to_16k

if TYPE_CHECKING:
    from pipeline.evaluation.answers.ears import Ears


class CascadeModel:
    """Knows of a question only what the recogniser writes."""

    def __init__(
        self, name: str, config: EndpointConfig, replies: Replies, ears: "Ears", voices: PackagedVoices
    ) -> None:
        self.name = name
        self._config = config
        self._endpoint = Endpoint(config, replies)
        self._ears = ears
        self._voices = voices
        self._heard: dict[str, str] = {}

    def about(self) -> dict[str, Any]:
        return {"kind": "cascade", "place": self._config.url, "model": self._config.model}

    def answer(
        self, history: Sequence[AnsweredQuestion], question: SpokenQuestion, sampling: AnswerSampling
    ) -> SpokenAnswer:
        import soundfile

        began = time.monotonic()
        messages = [ChatMessage("system", ANSWER)]
        for earlier in history:
            messages.append(ChatMessage("human", self._hear(earlier.question)))
            if earlier.answer.text.strip():
                messages.append(ChatMessage("assistant", earlier.answer.text))
        messages.append(ChatMessage("human", self._hear(question)))
        before = self._endpoint.spent
        text = complete(messages, self._config, self._endpoint, sampling.temperature, sampling.max_tokens)
        written = round(time.monotonic() - began, 3)
        try:
            samples, rate = soundfile.read(io.BytesIO(self._voices.answer(text)), dtype="float32")
        except DataError as error:
            if error.code != "no_words":
                raise
            return SpokenAnswer(text, None, reason="end", latency={"first_text": written, "total": written})
        spoken = round(time.monotonic() - began, 3)
        latency: dict[str, float | None] = {"first_text": written, "first_sound": spoken, "total": spoken}
        if self._endpoint.spent == before:  # a kept reply says nothing about time
            latency = {}
        return SpokenAnswer(text, samples, rate, reason="end", latency=latency)

    def _hear(self, question: SpokenQuestion) -> str:
        """Raises DataError `no_words` if nothing is recognised."""
        key = str(question.audio)
        if key not in self._heard:
            samples = to_16k(*read_whole(question.audio, DecodeConfig()))
            self._heard[key] = self._ears.transcribe(samples, self._ears.language(samples)[0])
        if not self._heard[key]:
            raise DataError("no_words", "the recogniser hears no words in the question")
        return self._heard[key]
