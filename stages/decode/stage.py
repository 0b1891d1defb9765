"""The decode stage: two passes over each file, one to check and measure it, one to write the spool."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from schemas.recording import DecodeColumn, DecodedAudio, Recording, Unit
from stages.decode.channels import Tracks, choose
from stages.decode.checks import checked
from stages.decode.config import DecodeConfig
from stages.decode.loudness import Loudness
from stages.decode.reading import Source, opened
from stages.decode.spool import Resampler, write_spool
from stages.decode.survey import survey_of
from stages.stage import SAMPLE_RATE, Samples, Stage


class DecodeStage(Stage[DecodeConfig]):
    """Fills `Recording.decode`, and writes the spool that later stages read."""

    name = "decode"
    version = 1

    def __call__(self, unit: Unit) -> Unit:
        return self._each_recording(unit, self._decode, lambda problems: DecodeColumn(None, problems))

    def _decode(self, recording: Recording) -> DecodeColumn:
        with self._audio.fetch(recording) as path:
            return DecodeColumn(decode_file(path, self._audio.spool(recording), self._config))


def decode_file(path: Path, spool: Path, config: DecodeConfig) -> DecodedAudio:
    """Decode a file of any format to the spool, 16 kHz and 16 bit, in bounded memory.

    Raises DataError where the file holds no usable audio, SetupError where the spool can't be written.
    """
    with opened(path) as source:
        survey = survey_of(source)
        repairs = checked(source, survey, config)
        tracks = choose(survey, source.names, config.channels)
    kept = list(tracks.channels)
    peak = float(survey.peak[kept].max())
    gain = np.float32(min(1.0, 1 / peak))
    loudness = Loudness(SAMPLE_RATE, len(tracks))
    with opened(path) as again:
        written = write_spool(_resampled(again, tracks, gain, loudness), spool, len(tracks))
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
        repairs=repairs,
        sha256=_sha256(path),
    )


def _resampled(source: Source, tracks: Tracks, gain: np.float32, loudness: Loudness) -> Iterator[Samples]:
    resampler = None
    for block in source.blocks():
        resampler = resampler or Resampler(source.rate, len(tracks))
        samples = resampler.add(tracks.of(block) * gain)
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
