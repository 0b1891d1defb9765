"""The decode stage: two passes over each file, one to check and measure it, one to write the spool."""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from schemas.recording import AudioNote, DecodeColumn, DecodedAudio, Recording, Unit
from stages.decode.channels import Tracks, choose
from stages.decode.checks import check
from stages.decode.config import DecodeConfig
from stages.decode.loudness import Loudness
from stages.decode.reading import AudioReader, open_audio
from stages.decode.resampling import Resampler
from stages.decode.separator import Separator, is_accompanied
from stages.decode.spool import write_spool
from stages.decode.timeline import Silence, silence
from stages.stage import SAMPLE_RATE, Samples, Stage


class DecodeStage(Stage[DecodeConfig]):
    """Fills `Recording.decode`, and writes the spool that later stages read."""

    name = "decode"
    version = 2

    _separator: Separator | None = None

    def _load_models(self) -> None:
        if config := self._config.separator:
            self._separator = Separator(self._models[config.model], config)

    def __call__(self, unit: Unit) -> Unit:
        return self._each_recording(unit, self._decode, lambda problems: DecodeColumn(None, problems))

    def _decode(self, recording: Recording) -> DecodeColumn:
        with self._audio.fetch(recording) as path:
            spool = self._audio.spool(recording)
            if self._separator and is_accompanied(recording):
                return DecodeColumn(decode_song(path, spool, self._config, self._separator))
            return DecodeColumn(decode_file(path, spool, self._config))


SEPARATED = "separated"
"""Kind of the note on a recording of which only the vocals are in the spool."""


def decode_song(path: Path, spool: Path, config: DecodeConfig, separator: Separator) -> DecodedAudio:
    """As `decode_file`, to a spool of one track that has the vocals alone.

    Raises what `decode_file` and `Separator.write_vocals` raise.
    """
    song = spool.with_name(f"{spool.name}.{os.getpid()}-{threading.get_ident()}.song")
    try:
        decoded = decode_file(path, song, config.model_copy(update={"channels": "mix"}))
        separator.write_vocals(song, spool, config.min_level_dbfs)
    finally:
        song.unlink(missing_ok=True)
    note = AudioNote(SEPARATED, "the vocals are kept, without their accompaniment")
    return replace(decoded, notes=(*decoded.notes, note))


def decode_file(path: Path, spool: Path, config: DecodeConfig) -> DecodedAudio:
    """Decode a file of any format to a spool (16 kHz, 16 bit) in bounded memory.

    Raises DataError if the file has no usable audio, SetupError if the spool can't be written.
    """
    with open_audio(path) as source:
        survey = source.survey()
        check(source, survey, config)
        tracks = choose(survey, source.names, config.channels)
    kept = list(tracks.channels)
    peak = float(survey.peak[kept].max())
    gain = np.float32(min(1.0, 1 / peak))
    loudness = Loudness(SAMPLE_RATE, len(tracks))
    with open_audio(path, source.stream) as second_pass:
        written = write_spool(_resampled(second_pass, tracks, gain, loudness), spool, len(tracks))
    return DecodedAudio(
        seconds=written / SAMPLE_RATE,
        declared_seconds=source.declared,
        container=source.container,
        codec=source.codec,
        sample_rate=source.rate,
        channels=survey.channels,
        tracks=len(tracks),
        channel_mode=tracks.mode,
        loudness_lufs=loudness.integrated,
        peak_dbfs=_db(peak),
        dc_offset=float(survey.mean[kept].mean()),
        clipped_share=float(survey.clipped_share[kept].mean()),
        gain_db=_db(float(gain)),
        notes=source.notes.listed(),
        sha256=_sha256(path),
        start_offset=source.start_offset,
        clock_start=source.clock_start,
        gap_seconds=source.gap_seconds,
        stream=source.stream,
        audio_streams=source.streams,
        track_channels=() if tracks.mode == "mix" else tracks.channels,
    )


def _resampled(
    source: AudioReader, tracks: Tracks, gain: np.float32, loudness: Loudness
) -> Iterator[Samples]:
    """Blocks [n, tracks] at 16 kHz. Those with sound are added to `loudness` too."""
    resampler = None
    read = written = 0
    for block in source.timeline():
        if isinstance(block, Silence):
            if resampler:
                written += len(rest := resampler.end())
                loudness.add(rest)
                yield rest
                resampler = None
            read += block.samples
            missing = round(read * SAMPLE_RATE / source.rate) - written
            yield from silence(missing, len(tracks))
            written += missing
        else:
            resampler = resampler or Resampler(source.rate, len(tracks))
            read += len(block)
            written += len(samples := resampler.add(tracks.of(block) * gain))
            loudness.add(samples)
            yield samples
    if resampler:
        samples = resampler.end()
        loudness.add(samples)
        yield samples


def _db(amplitude: float) -> float:
    return float(20 * np.log10(max(amplitude, 1e-6)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
