"""The audio of requests, tokenized within limits."""

import base64
import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

from pipeline.inference.answerer import Answerer, tokenize_question
from pipeline.inference.tokenize_files import Tokenized
from pipeline.serving.request import RequestError
from schemas.errors import DataError
from stages.decode.reading import open_audio
from stages.stage import problem_of

Value = TypeVar("Value")


_STANDARD = str.maketrans("-_", "+/")


def audio_bytes(data: str) -> bytes:
    """The bytes of base64: with line breaks or without, standard or URL-safe, padded or not, or as a `data:`
    URI. Raises ValueError for anything else."""
    if data.startswith("data:"):
        kind, comma, data = data.partition(",")
        if not comma or not kind.endswith(";base64"):
            raise ValueError("a data URI without base64")
    plain = "".join(data.split()).translate(_STANDARD).rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


class LruCache(Generic[Value]):
    """Keeps the values that were used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, key: str) -> Value | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: str, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)


class AudioTokenizer:
    """Tokenizes the audio of requests, with a cache: clients send earlier turns again with each request."""

    def __init__(self, answerer: Answerer, seconds: float) -> None:
        """`seconds` of audio are allowed per request."""
        self._answerer = answerer
        self._seconds = seconds
        self._cache: LruCache[Tokenized] = LruCache(64)

    def tokenize(self, clips: Iterable[tuple[str, str]]) -> dict[str, Tokenized]:
        """JSON path -> codes, for (JSON path, base64 of an audio file).

        Raises RequestError if one can't be used, or if they are longer than the limit together.
        """
        tokenized: dict[str, Tokenized] = {}
        for path, data in clips:
            remaining = self._seconds - sum(clip.seconds for clip in tokenized.values())
            tokenized[path] = self._tokenize_clip(path, data, remaining)
        return tokenized

    def _tokenize_clip(self, path: str, data: str, remaining: float) -> Tokenized:
        try:
            file = audio_bytes(data)
        except ValueError:
            raise RequestError(400, f"{path} is not valid base64", path, "invalid_base64") from None
        key = hashlib.sha256(file).hexdigest()
        clip = self._cache.get(key)
        if clip is None:
            try:
                clip = self._decode_and_tokenize(file, remaining)
            except (DataError, OSError) as error:
                problem = problem_of(error)
                raise RequestError(400, f"{path}: {problem.message}", path, problem.code) from None
            self._cache.put(key, clip)
        elif clip.seconds > remaining:
            raise RequestError(400, f"{path}: {self._too_long}", path, "audio_too_long")
        return clip

    def _decode_and_tokenize(self, data: bytes, remaining: float) -> Tokenized:
        # In a private folder, deleted right after tokenizing.
        with tempfile.TemporaryDirectory(prefix="aqaa-data-") as folder:
            file = Path(folder) / "audio"
            file.write_bytes(data)
            with open_audio(file) as source:
                for _ in source.blocks():
                    if source.seconds > remaining:
                        raise DataError("audio_too_long", self._too_long)
            return tokenize_question(self._answerer, str(file))

    @property
    def _too_long(self) -> str:
        return f"the audio of the messages is longer than the {self._seconds:g} s that this server allows"
