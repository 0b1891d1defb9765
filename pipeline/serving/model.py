"""A request answered: prompt, backbone, vocoder. One at a time, in the worker's thread."""

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.inference.answer_vocoder import AnswerVocoder, AudioChunk
from pipeline.inference.answerer import Answerer
from pipeline.inference.conversation import PastTurn, PromptMessage, prompt
from pipeline.inference.tokenize_files import Tokenized
from pipeline.serving.audio_tokenizer import AudioTokenizer, LruCache
from pipeline.serving.request import ChatRequest, RequestError, RequestMessage, json_path
from schemas.errors import DataError
from schemas.recording import Codes
from schemas.vocabulary import Ids, Modality, Vocabulary
from stages.stage import Samples
from stages.train.vocoder.shape import RATE

if TYPE_CHECKING:
    from stages.train.sampling import Answer, CodeGroup, Sampling, TextPiece

PCM_RATE = 24_000
"""Hz; what clients take `pcm16` to be."""
KEPT_SECONDS = 3600
"""Answers can be named by their id for so long."""
_ROLES = {"system": "system", "developer": "system", "user": "human", "assistant": "assistant"}


@dataclass(frozen=True)
class Limits:
    tokens: int
    """Of an answer."""
    seconds: float
    """Of a request's audio."""
    megabytes: float
    """Of its body."""


@dataclass(frozen=True)
class PromptReady:
    """The question has been understood; now the answer comes."""

    text_tokens: int
    audio_tokens: int
    seconds: float
    """Of audio."""


class ServedModel:
    def __init__(self, name: str, answerer: Answerer, voice: AnswerVocoder, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self.created = int(time.time())
        self.vocabulary = answerer.vocabulary
        self._answerer = answerer
        self._voice = voice
        self._ears = AudioTokenizer(answerer, limits.seconds)
        self._said: LruCache[tuple[float, PastTurn]] = LruCache(256)
        """Answers by their id, with the time until which they are known."""

    def answer(
        self, request: ChatRequest, id: str
    ) -> "Iterator[PromptReady | TextPiece | CodeGroup | AudioChunk | Answer]":
        """What is known of an answer as it comes. Raises RequestError."""
        from stages.train.sampling import Answer

        sampling = self._sampling(request)
        form = self._answerer.form if request.speaks else replace(self._answerer.form, mode="text_only")
        try:
            ids, seconds = self._prompt(request)
            events = self._answerer.answer(ids, form, sampling)
            text, audio = counts(ids, self.vocabulary)
            yield PromptReady(text, audio, seconds)
            at_rate = _Resampled(PCM_RATE if request.format == "pcm16" else RATE)
            for event in self._voice.speak(events, sampling.seed) if request.speaks else events:
                if isinstance(event, AudioChunk):
                    yield from at_rate(event.samples)
                    continue
                if isinstance(event, Answer) and request.speaks:
                    yield from at_rate(np.zeros(0, np.float32), last=True)
                    if event.text.strip() or event.voices:
                        until = time.time() + KEPT_SECONDS
                        self._said.put(id, (until, PastTurn.of(event.text, event.voices)))
                yield event
        except DataError as error:
            code = "context_length_exceeded" if error.code == "too_long" else error.code
            raise RequestError(400, error.message, "messages", code) from None

    def _sampling(self, request: ChatRequest) -> "Sampling":
        from stages.train.sampling import Sampling

        most = request.most_tokens or self.limits.tokens
        if most > self.limits.tokens:
            said = f"answers of this server have at most {self.limits.tokens:,} tokens"
            raise RequestError(400, said, "max_completion_tokens", "invalid_value")
        chosen = {"temperature": request.temperature, "top_p": request.top_p}
        seed = secrets.randbelow(2**32) if request.seed is None else request.seed
        given = {name: value for name, value in chosen.items() if value is not None}
        return Sampling(seed=seed, max_tokens=most, **given)

    def _prompt(self, request: ChatRequest) -> tuple[Ids, float]:
        """The ids, and how many seconds of audio were heard."""
        clips = {
            json_path("messages", m, "content", p, "input_audio", "data"): part.input_audio.data
            for m, message in enumerate(request.messages)
            for p, part in enumerate(message.content)
            if part.input_audio is not None
        }
        heard = self._ears.hear(clips.items())
        messages = [self._message(m, message, heard) for m, message in enumerate(request.messages)]
        return prompt(messages, self.vocabulary), sum(found.seconds for found in heard.values())

    def _message(self, number: int, message: RequestMessage, heard: Mapping[str, Tokenized]) -> PromptMessage:
        if message.audio is not None and not message.content:
            until, said = self._said.get(message.audio.id) or (0.0, None)
            if said is None or until < time.time():
                at = json_path("messages", number, "audio", "id")
                said_so = f"{at} is no answer that this server still knows: send its text as `content`"
                raise RequestError(400, said_so, at, "audio_not_found")
            return said.by("assistant")
        parts: list[str | Codes] = []
        for p, part in enumerate(message.content):
            at = json_path("messages", number, "content", p, "input_audio", "data")
            parts.append(heard[at].codes if at in heard else part.text or "")
        return PromptMessage(_ROLES[message.role], tuple(parts))


class _Resampled:
    """Audio at 22.05 kHz at another rate, piece by piece."""

    def __init__(self, rate: int) -> None:
        import soxr

        self._resampler = None if rate == RATE else soxr.ResampleStream(RATE, rate, 1, dtype="float32")

    def __call__(self, samples: Samples, last: bool = False) -> Iterator[AudioChunk]:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        if len(samples):
            yield AudioChunk(samples)


def counts(ids: Ids, vocabulary: Vocabulary) -> tuple[int, int]:
    """Text and audio tokens of some ids."""
    audio = int((vocabulary.modality(ids) != Modality.TEXT).sum())
    return len(ids) - audio, audio
