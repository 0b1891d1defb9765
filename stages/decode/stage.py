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
from stages.decode.resampling import Resampler
from stages.decode.spool import write_spool
from stages.decode.timeline import Silence, silence
from stages.stage import SAMPLE_RATE, Samples, Stage


class DecodeStage(Stage[DecodeConfig]):
    """Fills `Recording.decode`, and writes the spool that later stages read."""

    name = "decode"
    version = 2

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
