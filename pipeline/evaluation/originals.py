"""Utterances that are to be spoken again, from files or from a version's shards."""

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
from pipeline.inputs.sidecars import sidecar_text
from pipeline.models import resolve
from pipeline.storage.store import split
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

LONGEST = 30.0
"""Seconds that the recogniser hears at once."""
SHORTEST = 0.36
"""Seconds of tokens: what the vocoder speaks at once, and what a voice can be known by."""

Chosen = TypeVar("Chosen")


@dataclass(frozen=True)
class Original:
    """An utterance as it was recorded, and its codes."""

    name: str
    source: str
    """What must stay together where some are held out: its recording, or what is said in it."""
    sound: Samples
    """[n] at 16 kHz"""
    text: str | None
    """What somebody wrote down, not what a recogniser heard."""
    language: str | None
    tokens: Ids
    """[5 g] numbers N of `<audio_N>`, whole groups."""


class Originals(Protocol):
    found: int

    def __len__(self) -> int:
        """Of those found, how many were drawn."""

    def __iter__(self) -> Iterator[Original | Refused]:
        """One at a time, or why it can't be used."""


class FileOriginals:
    """Audio files of any format, each one utterance; its text and language come from its sidecar."""

    def __init__(self, uris: Sequence[str], tokenizer: str, limit: int, seed: int) -> None:
        """Raises SetupError where there is no such file, or the tokenizer can't be loaded."""
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
                problem = problem_of(_plain(error))
                yield Refused(item.id, problem.code, problem.message)


class TurnOriginals:
    """Turns of a version that keeps audio, with the codes that it holds."""

    def __init__(self, version: Version, parts: Sequence[str], limit: int, seed: int) -> None:
        """Of the splits `parts`; none where no audio was kept."""
        self.found = 0
        self._version = version
        self._turns = drawn(self._kept(parts), limit, seed, lambda turn: turn.name)

    def _kept(self, parts: Sequence[str]) -> Iterator[ShardTurn]:
        """Those with audio, counted."""
        for turn in shard_turns(self._version, parts):
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


def drawn(found: Iterable[Chosen], limit: int, seed: int, name: Callable[[Chosen], str]) -> list[Chosen]:
    """At most so many, drawn by hash: what is added elsewhere changes little of what is drawn."""
    return sorted(heapq.nsmallest(limit, found, key=lambda one: shuffle_key(f"{seed} {name(one)}")), key=name)


def _of_file(item: ListedRecording, tokenizer: Tokenizer) -> Original:
    store, name = split(item.uri)
    with store.local(name) as path:
        sound = to_16k(*read_whole(path, DecodeConfig()))
    _as_long_as_asked(len(sound))
    said: dict[str, Any] = json.loads(sidecar_text(item.sidecar.uri)) if item.sidecar else {}
    text, language = (_words(said.get(key)) for key in ("text", "language"))
    [codes] = tokenizer.encode([sound])
    return Original(item.id, (text or item.id).casefold(), sound, text, language, merged(codes))


def _of_turn(turn: ShardTurn, version: Version) -> Original:
    import soundfile

    assert turn.flac is not None
    _as_long_as_asked(turn.end - turn.first)
    tokens = turn.tokens(version)
    with io.BytesIO(turn.flac.read(version)) as flac:
        sound, rate = soundfile.read(flac, start=turn.first, stop=turn.end, dtype="float32")
    if rate != SAMPLE_RATE or len(sound) == 0:
        raise DataError("damaged_audio", "its audio is not what its sample says: verify the version")
    return Original(turn.name, turn.recording, np.asarray(sound), turn.text, turn.language, tokens)


def _as_long_as_asked(samples: int) -> None:
    seconds = samples / SAMPLE_RATE
    if seconds < SHORTEST:
        raise DataError("too_short", f"{seconds:.2f} s are too short to be judged: {SHORTEST} s are needed")
    if seconds > LONGEST:
        raise DataError(
            "too_long",
            f"{seconds:.0f} s are more than the {LONGEST:.0f} s that are heard at once: cut it, or build a "
            "version that keeps audio, whose turns are shorter",
        )


def _words(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _plain(error: Exception) -> Exception:
    """What every command says of files that can't be opened."""
    if isinstance(error, FileNotFoundError):
        return DataError("missing", "the file is no longer there")
    if isinstance(error, PermissionError):
        return DataError("unreadable", "there is no permission to read the file")
    return error
