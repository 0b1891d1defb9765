"""Who says what in audio files, without a recipe and without Ray, as `aqaa-data transcribe` does."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.inference.tokenize_files import Refused
from pipeline.inputs.named_files import shown
from pipeline.inputs.refusals import NOT_A_FILE
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from schemas.arrow import to_row
from schemas.recording import Recording, Unit, Word
from stages.decode import DecodeConfig, DecodeStage
from stages.diarize import DiarizeConfig, DiarizeStage
from stages.transcribe import TranscribeConfig, TranscribeStage


@dataclass(frozen=True)
class Said:
    """A turn of a file."""

    start: float
    """Seconds from the beginning of the recording, like all times."""
    end: float
    speaker: str
    text: str | None
    """None where no words are recognised."""
    language: str | None
    words: tuple[Word, ...]
    channel: int | None
    """Of the recording, from 1; None for a mix of its channels."""


@dataclass(frozen=True)
class Transcribed:
    """A file and its turns, in the order of their beginnings."""

    file: str
    """As it was named; bytes that aren't UTF-8 as `\\xe9`."""
    seconds: float
    turns: tuple[Said, ...]

    def as_json(self) -> dict[str, Any]:
        return {"file": self.file, "seconds": self.seconds, "turns": to_row(self.turns)}

    def rows(self) -> list[dict[str, Any]]:
        """The turns as the formats of `aqaa-data export` take them."""
        rows: list[dict[str, Any]] = to_row(self.turns)
        return [row | {"track": 0, "transcript": {"words": row["words"]}} for row in rows]


def transcribe_files(
    files: Iterable[str], diarize: DiarizeConfig, transcribe: TranscribeConfig
) -> Iterator[Transcribed | Refused]:
    """Transcribe files in order, by the first stages of a build with its defaults.

    Raises SetupError if a model can't be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="aqaa-data-") as scratch:
        decode = DecodeConfig()
        audio = SpooledAudio(Path(scratch), decode, "transcribe")
        threads = len(os.sched_getaffinity(0))
        decoder = DecodeStage(decode, audio, {}, threads)
        diarizer = DiarizeStage(diarize, audio, _paths(diarize), threads)
        transcriber = TranscribeStage(transcribe, audio, _paths(transcribe), threads)
        for stage in (decoder, diarizer, transcriber):
            stage.setup()
        for file in files:
            recording = _listed(file)
            if isinstance(recording, Recording):
                [recording] = diarizer(decoder(Unit(recording.id, (recording,)))).recordings
                recording = diarizer.for_transcripts(recording)
                [recording] = transcriber(Unit(recording.id, (recording,))).recordings
                audio.drop(recording)
                yield _result(recording)
            else:
                yield recording


def _paths(config: DiarizeConfig | TranscribeConfig) -> dict[str, Path]:
    return {name: resolve(name).path for name in config.models}


def _listed(file: str) -> Recording | Refused:
    path, name = Path(file), shown(file)
    if not path.exists():
        return Refused(name, "missing", "there is no such file")
    if path.is_dir():
        return Refused(name, "directory", "this is a directory: name the files in it")
    tag = "" if path.is_file() else NOT_A_FILE  # a pipe would be waited for
    return Recording(name, path.absolute().as_uri(), path.stat().st_size, tag, "{}")


def _result(recording: Recording) -> Transcribed | Refused:
    problem = next((problem for _, problem in recording.problems if problem.whole), None)
    if problem:
        return Refused(recording.id, problem.code, problem.message)
    decode, transcribe = recording.decode, recording.transcribe
    assert decode is not None
    assert decode.result is not None
    assert transcribe is not None
    channels = decode.result.track_channels
    said = []
    for turn, transcript in zip(recording.turns, transcribe.turns, strict=True):
        heard = transcript and (transcript.text, transcript.language, transcript.words)
        text, language, words = heard or (None, None, ())
        channel = channels[turn.track] + 1 if channels else None
        said.append(Said(turn.start, turn.end, turn.speaker, text, language, words, channel))
    return Transcribed(recording.id, decode.result.seconds, tuple(sorted(said, key=lambda each: each.start)))
