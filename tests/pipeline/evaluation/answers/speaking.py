"""A server that answers questions in speech with prepared texts."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import soundfile

from pipeline.evaluation.answers.voices import PackagedVoices
from pipeline.inference.wav import pcm16
from tests.served import Answer


def spoken(text: str) -> Answer:
    """A streamed answer with a text and its speech, or with neither."""
    deltas: list[dict[str, Any]] = []
    if text:
        samples, rate = soundfile.read(io.BytesIO(PackagedVoices().answer(text)), dtype="float32")
        assert rate == 24_000
        data = base64.b64encode(pcm16(samples)).decode()
        deltas = [{"audio": {"id": "a", "transcript": text}}, {"audio": {"data": data}}]
    chunks = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    return Answer(body="".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode())


def speaking(*texts: str) -> Callable[[dict[str, Any]], Answer]:
    """Answers the first question of each conversation with the first text, and so on."""

    def answer(request: dict[str, Any]) -> Answer:
        asked = sum(message["role"] == "user" for message in request["body"]["messages"])
        return spoken(texts[asked - 1])

    return answer
