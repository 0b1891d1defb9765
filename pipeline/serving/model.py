"""Generates answers: prompt, backbone, vocoder. Several at a time, in the worker's thread."""

import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.inference.answer_vocoder import AnswerVocoder, AudioChunk
from pipeline.inference.answerer import Answerer
from pipeline.inference.conversation import PastTurn, PromptMessage, prompt
from pipeline.inference.question_recogniser import QuestionRecogniser
from pipeline.inference.tokenize_files import Tokenized
from pipeline.serving.audio_tokenizer import AudioTokenizer, LruCache, audio_bytes
from pipeline.serving.request import ChatRequest, EarlierAudio, RequestError, RequestMessage, json_path
from schemas.errors import DataError
from schemas.recording import Codes
from schemas.vocabulary import Ids, Modality, Vocabulary
from stages.stage import Samples
from stages.train.vocoder.shape import RATE

if TYPE_CHECKING:
    from stages.train.sampling import Answer, CodeGroup, Sampling, TextPiece

PCM_RATE = 24_000
"""Hz; the rate that clients expect of `pcm16`."""
KEPT_SECONDS = 3600
"""How long an answer can be referred to by its id."""
VOICES = ("default",)
"""A vocoder has a single voice."""
_ROLES = {"system": "system", "developer": "system", "user": "human", "assistant": "assistant"}


@dataclass(frozen=True)
class Limits:
    tokens: int
    """Tokens of an answer, besides its end."""
    seconds: float
    """Audio of a request."""
    megabytes: float
    """Body of a request."""


@dataclass(frozen=True)
class PromptReady:
    """The event that the question has been read; the answer follows."""

    text_tokens: int
    audio_tokens: int
    seconds: float
    """Audio of the request."""


class ServedModel:
    """A checkpoint with a vocoder, under the name that requests call it by."""

    def __init__(
        self,
        name: str,
        answerer: Answerer,
        vocoder: AnswerVocoder,
        limits: Limits,
        rows: int = 1,
        recogniser: QuestionRecogniser | None = None,
    ) -> None:
        """`rows` is the most answers at a time; `recogniser` writes down what was asked."""
        self.name = name
        self.rows = rows
        self.recogniser = recogniser
        self.limits = limits
        self.created = int(time.time())
        self.vocabulary = answerer.vocabulary
        self._answerer = answerer
        self._batch = answerer.batch(rows)
        self._vocoder = vocoder
        self._audio_tokenizer = AudioTokenizer(answerer, limits.seconds)
        self._answers: LruCache[tuple[float, PastTurn]] = LruCache(256)
        """Answer id -> (time when it expires, answer)."""

    def answer(
        self, request: ChatRequest, id: str
    ) -> "Iterator[PromptReady | TextPiece | CodeGroup | AudioChunk | Answer | None]":
        """The events of an answer; None says that it waits for `step`. Raises RequestError."""
        from stages.train.remote_answer import RemoteError
        from stages.train.sampling import Answer

        sampling = self._sampling(request)
        form = self._answerer.form if request.speaks else replace(self._answerer.form, mode="text_only")
        try:
            ids, seconds = self._prompt(request)
            with closing(self._batch.answer(ids, form, sampling)) as events:
                # The first event comes, or is refused, once the prompt was read.
                first = next(events)
                text, audio = counts(ids, self.vocabulary)
                yield PromptReady(text, audio, seconds)
                yield first
                resample = _Resampler(PCM_RATE if request.format == "pcm16" else RATE)
                spoken: Iterator[TextPiece | CodeGroup | AudioChunk | Answer | None]
                spoken = events
                if request.speaks:
                    asked = "".join(part.text or "" for part in request.messages[-1].content)
                    spoken = self._vocoder.speak(events, sampling.seed, asked)
                for event in spoken:
                    if isinstance(event, AudioChunk):
                        yield from resample(event.samples)
                        continue
                    if isinstance(event, Answer) and request.speaks:
                        yield from resample(np.zeros(0, np.float32), last=True)
                        if event.text.strip() or event.voices:
                            expires = time.time() + KEPT_SECONDS
                            self._answers.put(id, (expires, PastTurn.of(event.text, event.voices)))
                    yield event
        except RemoteError as error:
            raise RequestError(502, error.message, code=error.code) from None
        except DataError as error:
            code = "context_length_exceeded" if error.code == "too_long" else error.code
            raise RequestError(400, error.message, "messages", code) from None

    @property
    def failure(self) -> str | None:
        """Why it can't answer any more."""
        return self._answerer.failure

    def step(self) -> None:
        """Go on with all answers that wait."""
        self._batch.step()

    def heard(self, request: ChatRequest) -> str | None:
        """The words of a spoken question; None without a recogniser, or if there is more than speech."""
        [*_, question] = request.messages
        clips = [part.input_audio for part in question.content if part.input_audio is not None]
        if self.recogniser is None or len(clips) != 1 or len(question.content) != 1:
            return None
        with tempfile.NamedTemporaryFile(prefix="aqaa-data-") as file:
            file.write(audio_bytes(clips[0].data))
            file.flush()
            return self.recogniser.words(Path(file.name))[0]

    def _sampling(self, request: ChatRequest) -> "Sampling":
        from stages.train.sampling import Sampling

        max_tokens = request.token_limit or self.limits.tokens
        if max_tokens > self.limits.tokens:
            message = f"answers of this server have at most {self.limits.tokens:,} tokens"
            raise RequestError(400, message, "max_completion_tokens", "invalid_value")
        seed = secrets.randbelow(2**32) if request.seed is None else request.seed
        # Clients count what they get, so that a limit of 1 is a token: the end comes on top.
        sampling = Sampling(seed=seed, max_tokens=max_tokens + 1)
        if request.temperature is not None:
            sampling = replace(sampling, temperature=request.temperature)
        if request.top_p is not None:
            sampling = replace(sampling, top_p=request.top_p)
        return sampling

    def _prompt(self, request: ChatRequest) -> tuple[Ids, float]:
        """The ids of the prompt, and the seconds of audio in it."""
        clips = {
            json_path("messages", m, "content", p, "input_audio", "data"): part.input_audio.data
            for m, message in enumerate(request.messages)
            for p, part in enumerate(message.content)
            if part.input_audio is not None
        }
        tokenized = self._audio_tokenizer.tokenize(clips.items())
        messages = [self._message(m, message, tokenized) for m, message in enumerate(request.messages)]
        return prompt(messages, self.vocabulary), sum(clip.seconds for clip in tokenized.values())

    def _message(
        self, number: int, message: RequestMessage, tokenized: Mapping[str, Tokenized]
    ) -> PromptMessage:
        if message.audio is not None and not message.has_content:
            return self._earlier_answer(number, message.audio)
        parts: list[str | Codes] = []
        for p, part in enumerate(message.content):
            path = json_path("messages", number, "content", p, "input_audio", "data")
            parts.append(tokenized[path].codes if path in tokenized else part.text or "")
        return PromptMessage(_ROLES[message.role], tuple(parts))

    def _earlier_answer(self, number: int, audio: EarlierAudio) -> PromptMessage:
        expires, answer = self._answers.get(audio.id) or (0.0, None)
        if answer is not None and expires >= time.time():
            return answer.as_message("assistant")
        if audio.transcript and (text := audio.transcript.strip()):
            return PromptMessage("assistant", (text,))
        path = json_path("messages", number, "audio", "id")
        reason = f"{path} is unknown or has expired on this server: send its text as `content`"
        raise RequestError(400, reason, path, "audio_not_found")


class _Resampler:
    """Resamples a stream of audio from 22.05 kHz to another rate."""

    def __init__(self, rate: int) -> None:
        import soxr

        self._resampler = None if rate == RATE else soxr.ResampleStream(RATE, rate, 1, dtype="float32")

    def __call__(self, samples: Samples, last: bool = False) -> Iterator[AudioChunk]:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        if len(samples):
            yield AudioChunk(samples)


def counts(ids: Ids, vocabulary: Vocabulary) -> tuple[int, int]:
    """Number of text tokens and of audio tokens."""
    audio = int((vocabulary.modality(ids) != Modality.TEXT).sum())
    return len(ids) - audio, audio
