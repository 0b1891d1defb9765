"""Speech recognition by an OpenAI-compatible server: `POST /audio/transcriptions`, one window a request."""

import io
import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from pydantic import Field

from schemas.errors import DataError
from schemas.recording import Word
from stages.endpoint import Endpoint, EndpointConfig
from stages.replies import Cost
from stages.stage import SAMPLE_RATE, Samples
from stages.transcribe.alignment import timed
from stages.transcribe.languages import sum_in_order
from stages.transcribe.recogniser import Transcription


class TranscriptionServerConfig(EndpointConfig):
    response_format: Literal["verbose_json", "json"] = Field(
        "verbose_json",
        description="`verbose_json` asks for word times and probabilities, `json` for the text alone, which "
        "every server can give",
    )
    temperature: float = Field(0, ge=0, le=1, description="sampling temperature")
    prompt: str = Field("", description="text before the speech, for names and style; empty: none")


class ServerEngine:
    """A recogniser behind an endpoint."""

    languages = None

    def __init__(self, config: TranscriptionServerConfig, endpoint: Endpoint) -> None:
        self._config = config
        self._endpoint = endpoint
        self._pool = ThreadPoolExecutor(config.parallel, thread_name_prefix="transcribe")

    def transcribe(
        self, windows: Sequence[Samples], language: str, allow_repeats: bool = True
    ) -> list[Transcription | DataError]:
        """The reply for each window [n] at 16 kHz; a server can't be told about repeats."""
        return list(self._pool.map(lambda samples: self._one(samples, language), windows))

    def _one(self, samples: Samples, language: str) -> Transcription | DataError:
        fields: dict[str, Any] = {
            "model": self._config.model,
            "response_format": self._config.response_format,
            "temperature": f"{self._config.temperature:g}",
        }
        if language:
            fields["language"] = language
        if self._config.prompt:
            fields["prompt"] = self._config.prompt
        if self._config.response_format == "verbose_json":
            fields["timestamp_granularities[]"] = "word"
        cost = Cost(requests=1, seconds=math.ceil(len(samples) / SAMPLE_RATE))
        try:
            return self._endpoint.post(
                "/audio/transcriptions", fields, cost, lambda reply: (_read(reply), cost), _wav(samples)
            )
        except DataError as error:
            return error


def _wav(samples: Samples) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _read(reply: bytes) -> Transcription:
    """Raises ValueError if the reply is not a transcription."""
    try:
        document = json.loads(reply)
    except ValueError:
        raise ValueError("no JSON") from None
    text = document.get("text") if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise ValueError("no text")
    words, segments = document.get("words"), document.get("segments")
    return Transcription(
        text,
        _words(text, words) if isinstance(words, list) else None,
        _mean(segments, "avg_logprob"),
        _mean(segments, "no_speech_prob"),
    )


def _words(text: str, words: list[Any]) -> tuple[Word, ...] | None:
    try:
        return timed(text, [(str(w["word"]), float(w["start"]), float(w["end"])) for w in words])
    except (KeyError, TypeError, ValueError):
        return None


def _mean(segments: Any, name: str) -> float | None:
    """Mean of a field over the segments, weighted by their text; None where one doesn't have it."""
    try:
        pairs = [(float(segment[name]), len(segment["text"])) for segment in segments]
    except (KeyError, TypeError, ValueError):
        return None
    total = sum(weight for _, weight in pairs)
    return sum_in_order(value * weight for value, weight in pairs) / total if total else None
