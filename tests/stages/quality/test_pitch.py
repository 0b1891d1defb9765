"""The pitch tracker says nothing on standard output, where commands write their JSON."""

import numpy as np

from pipeline.models import resolve
from stages.quality import QualityConfig
from stages.quality.pitch import PitchTracker
from stages.stage import SAMPLE_RATE


def test_audio_beyond_full_scale_is_tracked_without_a_word(capsys):
    tone = 1.2 * np.sin(2 * np.pi * 150 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    pitch = PitchTracker(resolve(QualityConfig().pitch).path).track(tone)
    assert pitch is not None
    assert abs(pitch.median_hz - 150) < 5
    assert capsys.readouterr().out == ""
