"""The decode stage: two passes over each file, one to check and measure it, one to write the spool."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from schemas.recording import DecodeColumn, DecodedAudio, Recording, Unit
from stages.decode.channels import Tracks, choose
from stages.decode.checks import check
from stages.decode.config import DecodeConfig
from stages.decode.loudness import Loudness
from stages.decode.reading import AudioReader, open_audio
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
    """Decode a file of any format to a spool (16 kHz, 16 bit) in bounded memory.

    Raises DataError if the file has no usable audio, SetupError if the spool can't be written.
    """
    with open_audio(path) as source:
        survey = survey_of(source)
        repairs = check(source, survey, config)
        tracks = choose(survey, source.names, config.channels)
    kept = list(tracks.channels)
    peak = float(survey.peak[kept].max())
    gain = np.float32(min(1.0, 1 / peak))
    loudness = Loudness(SAMPLE_RATE, len(tracks))
    with open_audio(path) as second_pass:
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
        repairs=repairs,
        sha256=_sha256(path),
        track_channels=() if tracks.mode == "mix" else tracks.channels,
    )


def _resampled(
    source: AudioReader, tracks: Tracks, gain: np.float32, loudness: Loudness
) -> Iterator[Samples]:
    """Blocks [n, tracks] at 16 kHz, which are added to `loudness` too."""
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
