"""The source of a voice: pulses at its pitch, and noise."""

import math

import pytest
import torch

from stages.train.vocoder.harmonic_source import AHEAD, pulses, source_spectra
from stages.train.vocoder.noise import noise
from stages.train.vocoder.past import Past
from stages.train.vocoder.shape import HOP, RATE, WINDOW


def gliding(frames=60) -> torch.Tensor:
    """hz_BT from 90 to 300 Hz, with a pause."""
    hz = torch.linspace(90, 300, frames)[None].clone()
    hz[:, 20:27] = 0
    return hz


@pytest.mark.parametrize("hz", [61.7, 173.0, 440.0])
def test_the_pulses_have_the_pitch_and_all_harmonics_alike(hz):
    samples = pulses(torch.full((1, 86), hz))[0]
    spectrum = torch.fft.rfft(samples * torch.hann_window(len(samples))).abs() / len(samples) * 4
    per_hz = len(samples) / RATE
    for order in range(1, int(8000 / hz)):
        near = spectrum[round((order - 0.5) * hz * per_hz) : round((order + 0.5) * hz * per_hz)]
        peak = round((order - 0.5) * hz * per_hz) + near.argmax().item()
        assert peak / per_hz == pytest.approx(order * hz, rel=0.01)
        assert near.max().item() == pytest.approx(1, abs=0.2)


def test_the_pulses_are_the_sum_of_the_harmonics_below_half_the_rate():
    hz, turns = 1234.5, torch.arange(1, 4 * HOP + 1).double() * 1234.5 / RATE
    orders = range(1, int(RATE / 2 / hz) + 1)
    expected = sum(torch.cos(2 * math.pi * order * turns) for order in orders)
    assert torch.allclose(pulses(torch.full((1, 4), hz))[0].double(), expected, atol=1e-5)


def test_unvoiced_frames_have_no_pulses():
    samples = pulses(gliding())[0].view(-1, HOP)
    assert (samples.abs().amax(1) > 1).tolist() == (gliding()[0] > 0).tolist()


@pytest.mark.parametrize("cuts", [[1] * 60, [7, 13, 3, 37], [60]])
def test_the_phase_goes_on_from_piece_to_piece(cuts):
    past, hz = Past(0), gliding()
    pieces = torch.cat([pulses(piece, past) for piece in hz.split(cuts, 1)], 1)
    assert torch.allclose(pieces, pulses(hz), atol=1e-6)


def test_the_pulses_start_anew_after_a_pause():
    hz = gliding()
    assert torch.allclose(pulses(hz)[:, 27 * HOP :], pulses(hz[:, 27:]), atol=1e-6)


def test_the_phase_goes_on_where_the_pitch_changes():
    """One sample before and after the edge of a frame, a cosine has turned by one step, not jumped."""
    hz = torch.tensor([[8000.0, 8200.0]])  # a single harmonic
    turn = torch.arange(1, HOP + 1).double() / RATE
    expected = torch.cos(2 * math.pi * torch.cat([8000 * turn, 8000 * turn[-1] + 8200 * turn]))
    assert torch.allclose(pulses(hz)[0].double(), expected, atol=1e-5)


def test_spectra_are_those_of_the_frames_two_before():
    hz = torch.full((1, 20), 200.0)
    spectra, _ = source_spectra(hz, torch.zeros(1, HOP, 20))
    assert spectra.shape == (1, 20, WINDOW // 2 + 1)
    signal = pulses(hz)[0] / (WINDOW / 4)
    frame = 9
    start = HOP * frame - (WINDOW - HOP) // 2
    expected = torch.fft.rfft(signal[start : start + WINDOW] * torch.hann_window(WINDOW))
    assert torch.allclose(spectra[0, frame + AHEAD], expected, atol=1e-5)


def test_pulses_and_noise_have_spectra_of_size_1():
    pulses_, noise_ = source_spectra(torch.full((1, 200), 215.3), noise(0, 0, 200, HOP))
    assert pulses_[0, 50:150, 10::10][:, :20].abs().mean().item() == pytest.approx(1, abs=0.1)
    assert noise_[0, 50:150].abs().square().mean().item() == pytest.approx(1, abs=0.05)
