"""Decoding a file in a test."""

import numpy as np
import pytest
import soundfile as sf

from stages.decode import DecodeConfig, decode_file


@pytest.fixture
def decode(tmp_path):
    """Decode a file; returns its record and the samples [n, tracks] of its spool."""

    def decoded(path, **config):
        result = decode_file(path, tmp_path / "spool/audio.flac", DecodeConfig(**config))
        samples, rate = sf.read(tmp_path / "spool/audio.flac", always_2d=True, dtype="float32")
        assert rate == 16_000
        assert samples.shape == (round(result.seconds * rate), result.tracks)
        assert np.isfinite(samples).all()
        return result, samples

    return decoded
