import pytest
import torch

from stages.train.vocoder.discriminators import Discriminators, discriminator_loss, generator_losses
from stages.train.vocoder.istft import EDGE, Generator, overlapped
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.shape import HOP, MEL_MEAN, MEL_SCALE, WINDOW, WaveShape
from stages.train.vocoder.spectrum import spectral_distance


def test_overlap_add_restores_speech_from_its_windows(spoken):
    samples = spoken[: HOP * 80]
    padded = torch.nn.functional.pad(samples, (EDGE, EDGE))
    window = torch.hann_window(WINDOW)
    spectra = torch.stft(padded[None], WINDOW, HOP, window=window, center=False, return_complex=True)
    frames = torch.fft.irfft(spectra.transpose(1, 2), WINDOW) * window
    back = overlapped(frames)[0, EDGE : EDGE + len(samples)]
    assert torch.allclose(back, samples, atol=1e-6)


def test_a_mel_becomes_a_hop_of_samples_per_frame():
    assert Generator(WaveShape(16, 24, 2))(torch.zeros(3, 80, 17)).shape == (3, 17 * 256)


def test_the_generator_memorises_a_second_of_speech(spoken):
    """Its log-mel distance falls to less than half."""
    torch.manual_seed(0)
    generator = Generator(WaveShape(64, 128, 2, MEL_MEAN, MEL_SCALE))
    real = spoken[None, : HOP * 80]
    mel = log_mel(real)
    optimizer = torch.optim.AdamW(generator.parameters(), 2e-3)
    distances = []
    for _ in range(60):
        generated = generator(mel)
        distance = (log_mel(generated) - mel).abs().mean()
        (45 * distance + 10 * spectral_distance(generated, real)).backward()
        optimizer.step()
        optimizer.zero_grad()
        distances.append(distance.item())
    assert distances[-1] < 0.5 * distances[0]


def test_the_spectral_distance_is_0_for_the_same_signal_and_grows_with_the_difference(spoken):
    real = spoken[None]
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    assert spectral_distance(real, real).item() == 0
    assert spectral_distance(real + 0.01 * noise, real) < spectral_distance(real + 0.1 * noise, real)


@pytest.fixture
def judges() -> Discriminators:
    torch.manual_seed(0)
    return Discriminators(4)


def test_every_period_and_resolution_has_a_discriminator(judges, spoken):
    outputs = judges(spoken[None, :8192])
    assert [weight for weight, _ in outputs] == [1.0] * 5 + [0.1] * 3
    assert all(scores.numel() > 1 and len(features) in (3, 4) for _, (scores, features) in outputs)


def test_hinge_losses_are_the_formula(judges, spoken):
    real, generated = judges(spoken[None, :8192]), judges(spoken[None, 8192 : 2 * 8192])
    expected = sum(
        weight * ((1 - r[0]).clamp(min=0).mean() + (1 + m[0]).clamp(min=0).mean())
        for (weight, r), (_, m) in zip(real, generated, strict=True)
    )
    assert torch.allclose(discriminator_loss(real, generated), expected)
    expected_adversarial = sum(weight * (1 - m[0]).clamp(min=0).mean() for weight, m in generated)
    assert torch.allclose(generator_losses(real, generated).adversarial, expected_adversarial)
    assert generator_losses(real, real).features.item() == 0


def test_discriminators_learn_to_tell_speech_from_noise(judges, spoken):
    real = spoken[None, :8192]
    noise = 0.1 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(judges.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        loss = discriminator_loss(judges(real), judges(noise))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
