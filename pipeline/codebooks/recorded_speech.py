"""The speech of recordings, and how much of it there is."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.inputs.listing import ListedRecording, list_inputs
from pipeline.inputs.spooled_audio import SpooledAudio
from schemas.errors import DataError, SetupError
from schemas.recording import Recording
from stages.decode import decode_file
from stages.decode.config import DecodeConfig
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.codebooks import FILE as FITTED
from stages.tokenize.trained.checkpoint import FILE as TRAINED

WINDOW_SECONDS = 300.0
"""Seconds of audio in memory at a time."""


@dataclass(frozen=True)
class SpeechSummary:
    """How much speech a set of recordings has."""

    recordings: int
    speech_seconds: float
    licences: dict[str, float]
    """Licence as named in the sidecars -> seconds of speech."""
    refused: dict[str, str]
    """Recording -> why it can't be used."""


class RecordedSpeech:
    """Iterates over the speech of recordings, at most 20 s at a time, and counts its sources."""

    def __init__(
        self, recordings: Sequence[ListedRecording], audio: SpooledAudio, decode: DecodeConfig
    ) -> None:
        self._recordings = recordings
        self._audio = audio
        self._decode = decode
        self._seconds: dict[str, float] = {}
        self._refused: dict[str, str] = {}

    def __iter__(self) -> Iterator[Samples]:
        for listed in self._recordings:
            recording = listed.recording("{}")
            try:
                licence = self._licence(listed)
                seconds = 0.0
                for samples in self._segments(recording):
                    seconds += len(samples) / SAMPLE_RATE
                    yield samples
                if not seconds:
                    raise DataError("no_speech", "no speech was detected")
                self._seconds[licence] = self._seconds.get(licence, 0.0) + seconds
            except DataError as error:
                self._refused[listed.id] = error.message
            finally:
                self._audio.drop(recording)

    def _licence(self, listed: ListedRecording) -> str:
        try:
            sidecar = json.loads(self._audio.text(listed.sidecar.uri)) if listed.sidecar else {}
        except json.JSONDecodeError as error:
            raise DataError("bad_sidecar", f"its sidecar is not valid JSON: {error}") from error
        return str(sidecar.get("licence", "not stated")) if isinstance(sidecar, dict) else "not stated"

    def _segments(self, recording: Recording) -> Iterator[Samples]:
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        with self._audio.fetch(recording) as raw:
            decoded = decode_file(raw, self._audio.spool(recording), self._decode)
        # Segments of about the length of turns, with about as little silence.
        options = VadOptions(
            min_speech_duration_ms=250,
            max_speech_duration_s=20,
            min_silence_duration_ms=500,
            speech_pad_ms=200,
        )
        for track in range(decoded.tracks):
            for start in np.arange(0, decoded.seconds, WINDOW_SECONDS):
                samples = self._audio.read(recording, track, start, start + WINDOW_SECONDS)
                for segment in get_speech_timestamps(samples, options):
                    yield samples[segment["start"] : segment["end"]]

    def summary(self) -> SpeechSummary:
        """Totals of what has been iterated over so far."""
        used = len(self._recordings) - len(self._refused)
        by_licence = dict(sorted(self._seconds.items()))
        return SpeechSummary(used, sum(by_licence.values()), by_licence, self._refused)


def inputs_of(
    inputs: Sequence[str], held: Sequence[str], out: Path
) -> tuple[Sequence[ListedRecording], Sequence[ListedRecording]]:
    """The recordings to learn from, and those held out.

    Raises SetupError if one is in both, or if `out` has codebooks already.
    """
    if any((out / name).exists() for name in (FITTED, TRAINED)):
        raise SetupError(f"{out} already has codebooks: name another directory")
    recordings = list_inputs(inputs).recordings
    held_out = list_inputs(held).recordings if held else ()
    if both := {r.uri for r in recordings} & {r.uri for r in held_out}:
        raise SetupError(f"{min(both)} is both held out and among the inputs: it must be only one of them")
    return recordings, held_out
