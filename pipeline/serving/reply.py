"""Answers in the form of the API: one object, or a stream of chunks."""

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pipeline.inference.answer_vocoder import AudioChunk
from pipeline.inference.wav import header, pcm16
from pipeline.serving.model import KEPT_SECONDS, PromptReady, counts
from pipeline.serving.request import ChatRequest
from schemas.vocabulary import Vocabulary
from stages.train.vocoder.shape import RATE

if TYPE_CHECKING:
    from stages.train.sampling import Answer, CodeGroup, TextPiece


@dataclass
class Reply:
    """An answer while it is generated."""

    request: ChatRequest
    model: str
    vocabulary: Vocabulary
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    audio_id: str = field(default_factory=lambda: f"audio_{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    prompted: PromptReady | None = None
    answer: "Answer | None" = None
    pcm: bytearray = field(default_factory=bytearray)
    heard: str | None = None
    """What was asked, if the server has a recogniser."""

    def take(
        self, event: "PromptReady | TextPiece | CodeGroup | AudioChunk | Answer"
    ) -> Iterator[dict[str, Any]]:
        """The chunks of the response for an event."""
        from stages.train.sampling import Answer, TextPiece

        match event:
            case PromptReady():
                self.prompted = event
                yield self._chunk({"role": "assistant", **({} if self.request.speaks else {"content": ""})})
            case TextPiece(text):
                yield self._chunk(self._audio(transcript=text) if self.request.speaks else {"content": text})
            case AudioChunk(samples):
                data = pcm16(samples)
                if self.request.stream:
                    yield self._chunk(self._audio(data=base64.b64encode(data).decode()))
                else:
                    self.pcm += data
            case Answer():
                self.answer = event
                if self.request.speaks:
                    yield self._chunk(self._audio(expires_at=self.created + KEPT_SECONDS))
                yield self._chunk({}, self._finish)
                if self.request.stream_options and self.request.stream_options.include_usage:
                    yield self._envelope("chat.completion.chunk") | {"choices": [], "usage": self.usage}

    def whole(self) -> dict[str, Any]:
        assert self.answer is not None
        message: dict[str, Any] = {"role": "assistant", "content": self.answer.text, "refusal": None}
        if self.request.speaks:
            data = bytes(self.pcm)
            if self.request.format == "wav":
                data = header(RATE, len(data)) + data
            message |= {"content": None} | self._audio(
                data=base64.b64encode(data).decode(),
                expires_at=self.created + KEPT_SECONDS,
                transcript=self.answer.text,
            )
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish}
        heard = {} if self.heard is None else {"heard": self.heard}
        return self._envelope("chat.completion") | {"choices": [choice], "usage": self.usage} | heard

    def heard_chunk(self) -> dict[str, Any]:
        """What was asked, as a chunk that changes nothing of the answer."""
        return self._chunk({}) | {"heard": self.heard}

    @property
    def usage(self) -> dict[str, Any]:
        """Tokens of the prompt and of the answer; its end is none of them, as it is none of a limit's."""
        assert self.answer is not None
        assert self.prompted is not None
        text, audio = counts(self.answer.ids[:-1], self.vocabulary)
        prompt_tokens = self.prompted.text_tokens + self.prompted.audio_tokens
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": text + audio,
            "total_tokens": prompt_tokens + text + audio,
            "prompt_tokens_details": {
                "text_tokens": self.prompted.text_tokens,
                "audio_tokens": self.prompted.audio_tokens,
            },
            "completion_tokens_details": {"text_tokens": text, "audio_tokens": audio},
        }

    @property
    def _finish(self) -> str:
        """An answer that repeated itself was cut off and counts as too long."""
        return "stop" if self.answer is not None and self.answer.reason == "end" else "length"

    def _audio(self, **fields: Any) -> dict[str, Any]:
        return {"audio": {"id": self.audio_id, **fields}}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._envelope("chat.completion.chunk") | {"choices": [choice]}

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}
