"""A file read into memory as one channel at its own sample rate."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from schemas.errors import DataError
from stages.decode import DecodeConfig
from stages.decode.whole import read_whole
from tests.paths import RECORDINGS


def stereo(folder: Path, weights: tuple[float, float]) -> tuple[Path, np.ndarray]:
    """A recording with its audio on two channels, scaled by the weights, and that audio."""
    samples, rate = soundfile.read(RECORDINGS / "demo/monologues/LJ002-0020.wav", dtype="float32")
    path = folder / "stereo.wav"
    soundfile.write(path, np.stack([samples * weight for weight in weights], axis=1), rate, subtype="FLOAT")
    return path, samples


def test_channels_are_averaged_at_the_files_own_rate(tmp_path: Path) -> None:
    path, samples = stereo(tmp_path, (1.0, 0.5))
    heard, rate = read_whole(path, DecodeConfig())
    assert rate == 22050
    np.testing.assert_allclose(heard, 0.75 * samples, atol=1e-7)


def test_channels_that_cancel_each_other_are_not_averaged(tmp_path: Path) -> None:
    path, samples = stereo(tmp_path, (1.0, -1.0))
    heard, _ = read_whole(path, DecodeConfig())
    np.testing.assert_allclose(np.abs(heard), np.abs(samples), atol=1e-7)


def test_a_recording_that_decode_sets_aside_is_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        read_whole(RECORDINGS / "bad/zero_bytes.wav", DecodeConfig())
