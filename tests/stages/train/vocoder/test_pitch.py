"""The pitch that a harmonic source is trained with, and the head that predicts it."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline.models import resolve
from stages.evaluate.likeness import f0_correlation
from stages.quality import QualityConfig
from stages.quality.pitch import PitchTracker
from stages.stage import SAMPLE_RATE
from stages.train.vocoder.measured_pitch import MeasuredPitch, at_frames
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.pitch_head import PitchHead, pitch_hz, pitch_loss
from stages.train.vocoder.shape import HOP, MEL_MEAN, MEL_SCALE, RATE, frames_of
from stages.train.vocoder.utterances import VocoderUtterance


@pytest.fixture(scope="module")
def utterance(spoken) -> VocoderUtterance:
    return VocoderUtterance("spoken", np.zeros(40, np.int32), spoken.numpy())


@pytest.fixture(scope="module")
def tracker() -> PitchTracker:
    return PitchTracker(resolve(QualityConfig().pitch).path)


def test_the_target_is_what_the_pitch_measure_finds(utterance, tracker, tmp_path):
    import soxr

    hz = MeasuredPitch(tmp_path, tracker.hz)(utterance)
    assert hz.shape == (frames_of(40),)
    measured = tracker.hz(soxr.resample(utterance.audio().numpy(), RATE, SAMPLE_RATE))
    at = (np.arange(len(hz)) + 0.5) * HOP / RATE / 0.01
    nearest = measured[np.rint(at).astype(int)]
    assert np.array_equal(hz > 0, nearest > 0)
    assert 0.3 < (hz > 0).mean() < 1
    assert np.allclose(hz, nearest, rtol=0.05)


def test_the_target_of_a_glide_is_its_pitch_in_the_middle_of_each_frame(tracker, tmp_path):
    time = np.arange(RATE) / RATE
    hz = 120 + 100 * time
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    buzz = sum(np.sin(n * phase) / n for n in range(1, 15)).astype(np.float32)
    target = MeasuredPitch(tmp_path, tracker.hz)(VocoderUtterance("glide", np.zeros(40, np.int32), buzz))
    middle = 120 + 100 * (np.arange(len(target)) + 0.5) * HOP / RATE
    assert target[5:-5] == pytest.approx(middle[5:-5], rel=0.01)


def test_an_utterance_is_measured_once(utterance, tmp_path):
    calls = []

    def measure(samples):
        calls.append(len(samples))
        return np.full(100, 123, np.float32)

    for _ in range(2):
        assert (MeasuredPitch(tmp_path, measure)(utterance) == 123).all()
    assert len(calls) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["spoken.npy"]


def test_between_voiced_and_unvoiced_values_the_nearer_one_counts():
    measured = np.array([100, 110, 120, 0, 0, 0], np.float32)  # every 10 ms
    at = (np.arange(4) + 0.5) * HOP / RATE * 100  # 0.58, 1.74, 2.90, 4.06
    expected = [100 + 10 * at[0], 100 + 10 * at[1], 0, 0]
    assert at_frames(measured, 4) == pytest.approx(expected)
    assert at_frames(measured[:2], 4).tolist() == [pytest.approx(100 + 10 * at[0]), 110, 110, 110]


def test_the_loss_is_0_for_the_right_pitch_and_counts_voiced_frames_only():
    hz = torch.tensor([[100.0, 0, 200.0]])
    right = hz.clamp(min=50).log()
    sure = torch.tensor([[50.0, -50.0, 50.0]])
    assert pitch_loss(right, sure, hz).item() == pytest.approx(0, abs=1e-6)
    assert pitch_loss(right + torch.tensor([[0.2, 9.0, 0.2]]), sure, hz).item() == pytest.approx(0.2)
    assert pitch_loss(right, -sure, hz).item() == pytest.approx(50)
    assert torch.allclose(pitch_hz(right, sure), hz)


def test_the_head_learns_the_pitch_of_speech(utterance, tracker, tmp_path):
    torch.manual_seed(0)
    head = PitchHead(32)
    hz = torch.from_numpy(MeasuredPitch(tmp_path, tracker.hz)(utterance))[None]
    mel = F.pad((log_mel(utterance.audio()[None]) - MEL_MEAN) / MEL_SCALE, (1, 1))
    optimizer = torch.optim.AdamW(head.parameters(), 5e-3)
    for _ in range(60):
        pitch_loss(*head(mel), hz).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        predicted = pitch_hz(*head(mel))
    assert f0_correlation(hz[0].numpy(), predicted[0].numpy()) > 0.8
    assert ((predicted > 0) == (hz > 0)).float().mean() > 0.9
