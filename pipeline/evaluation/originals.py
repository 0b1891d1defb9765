"""The utterances to resynthesize, from files or from the shards of a version."""

import heapq
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from pipeline.evaluation.shard_turns import ShardTurn, shard_turns
from pipeline.inference.tokenize_files import Refused, config_of
from pipeline.inputs.listing import ListedRecording, list_inputs
from pipeline.inputs.recording_files import RecordingFiles
from pipeline.inputs.sidecars import sidecar_text
from pipeline.models import resolve
from pipeline.versions.reader import Version
from schemas.errors import DataError
from schemas.hashing import shuffle_key
from schemas.layout import merged
from schemas.vocabulary import Ids
from stages.decode import DecodeConfig
from stages.decode.whole import read_whole
from stages.stage import SAMPLE_RATE, Samples, problem_of
from stages.tokenize import load_tokenizer
from stages.tokenize.resample import to_16k
from stages.tokenize.tokenizer import Tokenizer

MAX_SECONDS = 30.0
"""The recogniser's window."""
MIN_SECONDS = 0.36
"""The least that the vocoder can synthesize and that a speaker embedding can be computed from."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Original:
    """A recorded utterance and its codes."""

    name: str
    source: str
    """Utterances of the same source are held out together: the recording, or the text."""
    samples: Samples
    """[n] at 16 kHz"""
    text: str | None
    """Written by a person, not by a recogniser."""
    language: str | None
    tokens: Ids
    """[5 g] numbers N of `<audio_N>`, whole groups."""


class Originals(Protocol):
    found: int
    """Utterances before drawing."""

    def __len__(self) -> int:
        """Utterances that were drawn."""

    def __iter__(self) -> Iterator[Original | Refused]:
        """Yields each utterance, or why it can't be used."""


class FileOriginals:
    """Audio files of any format, one utterance each; text and language come from the sidecar."""

    def __init__(self, uris: Sequence[str], tokenizer: str, limit: int, seed: int) -> None:
        """Raises SetupError if there is no such file or the tokenizer can't be loaded."""
        recordings = list_inputs(uris).recordings
        self.found = len(recordings)
        self._inputs = drawn(recordings, limit, seed, lambda item: item.id)
        config = config_of(tokenizer)
        self._tokenizer = load_tokenizer(config, {name: resolve(name).path for name in config.models})

    def __len__(self) -> int:
        return len(self._inputs)

    def __iter__(self) -> Iterator[Original | Refused]:
        for item in self._inputs:
            try:
                yield _of_file(item, self._tokenizer)
            except Exception as error:
                problem = problem_of(_as_data_error(error))
                yield Refused(item.id, problem.code, problem.message)


class TurnOriginals:
    """Turns of a version that keeps audio, with their codes."""

    def __init__(self, version: Version, splits: Sequence[str], limit: int, seed: int) -> None:
        """Empty if the version keeps no audio."""
        self.found = 0
        self._version = version
        self._turns = drawn(self._with_audio(splits), limit, seed, lambda turn: turn.name)

    def _with_audio(self, splits: Sequence[str]) -> Iterator[ShardTurn]:
        """The turns with audio, which it counts."""
        for turn in shard_turns(self._version, splits):
            if turn.flac is not None:
                self.found += 1
                yield turn

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[Original | Refused]:
        for turn in self._turns:
            try:
                yield _of_turn(turn, self._version)
            except Exception as error:
                problem = problem_of(error)
                yield Refused(turn.name, problem.code, problem.message)


def drawn(items: Iterable[Item], limit: int, seed: int, name: Callable[[Item], str]) -> list[Item]:
    """At most `limit` items, drawn by the hash of their names, so that adding items changes few of them."""
    return sorted(
        heapq.nsmallest(limit, items, key=lambda item: shuffle_key(f"{seed} {name(item)}")), key=name
    )


def _of_file(item: ListedRecording, tokenizer: Tokenizer) -> Original:
    with RecordingFiles().local(item.uri, item.etag) as path:
        samples = to_16k(*read_whole(path, DecodeConfig()))
    _check_length(len(samples))
    sidecar: dict[str, Any] = json.loads(sidecar_text(item.sidecar.uri)) if item.sidecar else {}
    text, language = (_stripped(sidecar.get(key)) for key in ("text", "language"))
    [codes] = tokenizer.encode([samples])
    return Original(item.id, (text or item.id).casefold(), samples, text, language, merged(codes))


def _of_turn(turn: ShardTurn, version: Version) -> Original:
    import soundfile

    assert turn.flac is not None
    _check_length(turn.end - turn.first)
    tokens = turn.tokens(version)
    with io.BytesIO(turn.flac.read(version)) as flac:
        samples, rate = soundfile.read(flac, start=turn.first, stop=turn.end, dtype="float32")
    if rate != SAMPLE_RATE or len(samples) == 0:
        raise DataError(
            "damaged_audio", "its audio doesn't match its sample: check it with `aqaa-data versions verify`"
        )
    return Original(turn.name, turn.recording, np.asarray(samples), turn.text, turn.language, tokens)


def _check_length(samples: int) -> None:
    seconds = samples / SAMPLE_RATE
    if seconds < MIN_SECONDS:
        raise DataError("too_short", f"{seconds:.2f} s is too short to evaluate: {MIN_SECONDS} s are needed")
    if seconds > MAX_SECONDS:
        raise DataError(
            "too_long",
            f"{seconds:.0f} s is longer than the recogniser's window of {MAX_SECONDS:.0f} s: cut it, or "
            "build a version that keeps audio, whose turns are shorter",
        )


def _stripped(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _as_data_error(error: Exception) -> Exception:
    """With the messages that all commands use for files that can't be opened."""
    if isinstance(error, FileNotFoundError):
        return DataError("missing", "the file is no longer there")
    if isinstance(error, PermissionError):
        return DataError("unreadable", "there is no permission to read the file")
    return error
