"""A server with audio in chat completions (`aqaa-data serve`, OpenAI, vLLM) as a model that answers."""

import base64
import io
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.evaluation.answers.exchange import (
    AnsweredQuestion,
    AnswerSampling,
    SpokenAnswer,
    SpokenQuestion,
)
from schemas.errors import DataError, SetupError
from stages.connection import ApiKey
from stages.decode.config import DecodeConfig
from stages.decode.whole import read_whole
from stages.endpoint import Endpoint, EndpointConfig
from stages.replies import Cost, Replies
from stages.stage import SAMPLE_RATE, Samples
from stages.synthesize.audio import read_audio
from stages.tokenize.resample import to_16k

PCM_RATE = 24_000
"""Hz, of `pcm16`."""


class EndpointModel:
    """Answers are streamed, so that the first sound can be timed; a server that refuses that is asked for
    whole ones."""

    def __init__(self, name: str, config: EndpointConfig, replies: Replies) -> None:
        self.name = name
        self._config = config
        self._endpoint = Endpoint(config, replies)
        self._streams = True

    def about(self) -> dict[str, Any]:
        return {"kind": "endpoint", "place": self._config.url, "model": self._config.model}

    def answer(
        self, history: Sequence[AnsweredQuestion], question: SpokenQuestion, sampling: AnswerSampling
    ) -> SpokenAnswer:
        messages: list[dict[str, Any]] = []
        for earlier in history:
            messages.append(_heard(earlier.question))
            if earlier.answer.text.strip():
                messages.append({"role": "assistant", "content": earlier.answer.text})
            elif earlier.answer.id:
                messages.append({"role": "assistant", "audio": {"id": earlier.answer.id}})
        messages.append(_heard(question))
        body = {
            "model": self._config.model,
            "messages": messages,
            "modalities": ["text", "audio"],
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "max_completion_tokens": sampling.max_tokens,
        }
        if self._streams:
            try:
                return self._ask(body, stream=True)
            except DataError as error:
                if error.code != "refused" or "stream" not in error.message.lower():
                    raise
                self._streams = False
        return self._ask(body, stream=False)

    def _ask(self, body: dict[str, Any], stream: bool) -> SpokenAnswer:
        audio: dict[str, Any] = {"format": "pcm16" if stream else "wav", "voice": "alloy"}
        request = body | {"audio": audio} | ({"stream": True} if stream else {})
        sizes = len(json.dumps(body["messages"]))
        clock = _Clock()
        before = self._endpoint.spent

        def read(reply: bytes) -> tuple[SpokenAnswer, Cost | None]:
            return (_streamed(reply) if stream else _whole(reply)), None

        answer = self._endpoint.post(
            "/chat/completions", request, Cost(1, 0, sizes), read, watch=clock.take if stream else None
        )
        fresh = self._endpoint.spent != before  # a kept reply says nothing about time
        return SpokenAnswer(
            answer.text,
            answer.samples,
            answer.rate,
            reason=answer.reason,
            latency=clock.as_json() if fresh else {},
            id=answer.id,
        )


class _Clock:
    """Times a streamed reply."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first_text: float | None = None
        self._first_sound: float | None = None

    def take(self, piece: bytes) -> None:
        if not piece:  # a new try begins
            self._began, self._first_text, self._first_sound = time.monotonic(), None, None
        elapsed = round(time.monotonic() - self._began, 3)
        if self._first_text is None and (b'"transcript"' in piece or b'"content": "' in piece):
            self._first_text = elapsed
        if self._first_sound is None and (b'"data":"' in piece or b'"data": "' in piece):
            self._first_sound = elapsed

    def as_json(self) -> dict[str, float | None]:
        total = round(time.monotonic() - self._began, 3)
        return {"first_text": self._first_text, "first_sound": self._first_sound, "total": total}


def _heard(question: SpokenQuestion) -> dict[str, Any]:
    import soundfile

    buffer = io.BytesIO()
    samples = to_16k(*read_whole(question.audio, DecodeConfig()))
    soundfile.write(buffer, np.clip(samples, -1, 1), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    data = base64.b64encode(buffer.getvalue()).decode()
    return {
        "role": "user",
        "content": [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}],
    }


def _streamed(reply: bytes) -> SpokenAnswer:
    """The answer of server-sent events. Raises ValueError if it is cut off or an error."""
    text: list[str] = []
    pcm = bytearray()
    reason: str | None = None
    known_as: str | None = None
    for chunk in _events(reply):
        if "error" in chunk:
            raise ValueError(f"the server reports an error: {str(chunk['error'])[:200]}")
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            audio = delta.get("audio") or {}
            text.append(str(delta.get("content") or audio.get("transcript") or ""))
            pcm += base64.b64decode(audio.get("data") or "")
            known_as = audio.get("id") or known_as
            reason = choice.get("finish_reason") or reason
    if reason is None:
        raise ValueError("the stream ended before the answer did")
    samples = np.frombuffer(bytes(pcm[: len(pcm) // 2 * 2]), "<i2").astype(np.float32) / np.float32(32768)
    return _answer("".join(text), samples, PCM_RATE, reason, known_as)


def _events(reply: bytes) -> Iterator[dict[str, Any]]:
    for line in reply.decode("utf-8", "replace").splitlines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if data and data != "[DONE]":
            chunk = json.loads(data)
            if not isinstance(chunk, dict):
                raise ValueError("no chat completion")
            yield chunk


def _whole(reply: bytes) -> SpokenAnswer:
    try:
        choice = json.loads(reply)["choices"][0]
        message = choice["message"]
    except (ValueError, KeyError, IndexError, TypeError):
        raise ValueError("no chat completion") from None
    audio = message.get("audio") or {}
    text = str(message.get("content") or audio.get("transcript") or "")
    reason = str(choice.get("finish_reason") or "")
    if not audio.get("data"):
        return _answer(text, np.zeros(0, np.float32), 0, reason, audio.get("id"))
    spoken = read_audio(base64.b64decode(audio["data"]))
    return _answer(text, spoken.samples, spoken.rate, reason, audio.get("id"))


def _answer(text: str, samples: Samples, rate: int, reason: str, known_as: str | None) -> SpokenAnswer:
    ended = {"stop": "end"}.get(reason, reason)
    return SpokenAnswer(text, samples if len(samples) else None, rate, (), ended, {}, known_as)


def endpoint_config(address: str, **settings: Any) -> EndpointConfig:
    """Of `URL#MODEL`; without a model, that which the server names first. Raises SetupError."""
    url, _, model = address.partition("#")
    config = EndpointConfig(url=url, model=model, **settings)
    return config if model else config.model_copy(update={"model": _served(url, config.key_variable)})


def _served(url: str, key_variable: str) -> str:
    import httpx2

    asked = f"{url.rstrip('/')}/models"
    try:
        reply = httpx2.get(asked, headers=ApiKey.of_variable(key_variable).headers, timeout=30)
        if reply.status_code in (401, 403):
            raise SetupError(f"{asked} requires an API key (status {reply.status_code}): set ${key_variable}")
        return str(reply.json()["data"][0]["id"])
    except (httpx2.HTTPError, ValueError, KeyError, IndexError, TypeError, httpx2.InvalidURL) as error:
        raise SetupError(
            f"{asked} names no model ({type(error).__name__}): name one after the address, as {url}#MODEL"
        ) from None
