"""Audio of requests into codes, within limits."""

import base64
import binascii
import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

from pipeline.inference.answerer import Answerer, tokenized
from pipeline.inference.tokenize_files import Tokenized
from pipeline.serving.request import RequestError
from schemas.errors import DataError
from stages.decode.reading import open_audio
from stages.stage import problem_of

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """The latest values of some keys."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, key: str) -> Value | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: str, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)


class AudioTokenizer:
    """Hears what a client sends with each turn again, as the API has it, only once."""

    def __init__(self, answerer: Answerer, seconds: float) -> None:
        self._answerer = answerer
        self._seconds = seconds
        self._heard: Remembered[Tokenized] = Remembered(64)

    def hear(self, clips: Iterable[tuple[str, str]]) -> dict[str, Tokenized]:
        """Place in the request -> its codes, of (place, base64).

        Raises RequestError where one can't be used, or all together are longer than the limit."""
        found: dict[str, Tokenized] = {}
        for place, data in clips:
            left = self._seconds - sum(heard.seconds for heard in found.values())
            found[place] = self._hear(place, data, left)
        return found

    def _hear(self, place: str, data: str, left: float) -> Tokenized:
        key = hashlib.sha256(data.encode()).hexdigest()
        heard = self._heard.get(key)
        if heard is None:
            try:
                heard = self._tokenized(base64.b64decode(data, validate=True), left)
            except (binascii.Error, ValueError):
                raise RequestError(400, f"{place} is no base64", place, "invalid_base64") from None
            except (DataError, OSError) as error:
                problem = problem_of(error)
                raise RequestError(400, f"{place}: {problem.message}", place, problem.code) from None
            self._heard.put(key, heard)
        elif heard.seconds > left:
            raise RequestError(400, f"{place}: {self._too_long}", place, "audio_too_long")
        return heard

    def _tokenized(self, data: bytes, left: float) -> Tokenized:
        # In a folder that nobody else reads, gone as soon as it is heard.
        with tempfile.TemporaryDirectory(prefix="aqaa-data-") as folder:
            file = Path(folder) / "audio"
            file.write_bytes(data)
            with open_audio(file) as source:
                for _ in source.blocks():
                    if source.seconds > left:
                        raise DataError("audio_too_long", self._too_long)
            return tokenized(self._answerer, str(file))

    @property
    def _too_long(self) -> str:
        return (
            f"the audio of the messages is longer than the {self._seconds:g} s that this server hears at once"
        )
