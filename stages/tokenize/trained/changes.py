"""Changed copies of speech, so that codes don't depend on what doesn't matter: noise, room, channel."""

from dataclasses import dataclass

import numpy as np

from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.tokenizer import peak_normalised

SPEEDS = (0.85, 0.9, 1.0, 1.0, 1.0, 1.1, 1.2)
"""Resampling changes rate, pitch and vocal tract together: other speakers from the same ones."""
DELAY = 1920
"""Samples of a group of codes (120 ms). Speech is delayed by whole groups, so that codes stay aligned."""


@dataclass(frozen=True)
class ChangeConfig:
    """How often each change is made."""

    noise: float = 0.65
    """Of those, with speech in the background: 0.4; the rest is noise between white and pink."""
    room: float = 0.15
    channel: float = 0.15
    """Narrower bands."""
    delay: float = 0.4
    snr_db: tuple[float, float] = (8.0, 35.0)


def resampled(samples: Samples, generator: np.random.Generator) -> Samples:
    """At one of `SPEEDS`."""
    speed = SPEEDS[generator.integers(len(SPEEDS))]
    if speed == 1:
        return samples
    at = np.arange(int(len(samples) / speed)) * speed
    changed: Samples = np.interp(at, np.arange(len(samples)), samples).astype(np.float32)
    return changed


def delayed(samples: Samples, generator: np.random.Generator, config: ChangeConfig) -> Samples:
    """After up to half a second of silence."""
    if generator.random() >= config.delay:
        return samples
    return np.pad(samples, (DELAY * int(generator.integers(5)), 0))


def disturbed(
    samples: Samples, other: Samples, generator: np.random.Generator, config: ChangeConfig
) -> Samples:
    """In a room, through a channel, and with noise or the speech `other` in the background."""
    if generator.random() < config.room:
        samples = _in_room(samples, generator)
    if generator.random() < config.channel:
        samples = _through_channel(samples, generator)
    if generator.random() < config.noise:
        snr_db = generator.uniform(*config.snr_db)
        if generator.random() < 0.4:
            samples = mixed(samples, np.resize(other, len(samples)), snr_db + 5)
        else:
            samples = mixed(samples, coloured_noise(len(samples), generator), snr_db)
    return peak_normalised(samples)


def mixed(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Speech with noise at a ratio of mean powers."""
    power, own = np.mean(samples**2), max(float(np.mean(noise**2)), 1e-9)
    both: Samples = samples + noise * np.float32(np.sqrt(power / own / 10 ** (snr_db / 10)))
    return both


def coloured_noise(size: int, generator: np.random.Generator) -> Samples:
    """Noise [size] whose amplitude falls with a power of the frequency between 0 (white) and 1."""
    spectrum = np.fft.rfft(generator.standard_normal(size))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** generator.uniform(0, 1)
    return np.fft.irfft(spectrum, size).astype(np.float32)


def _in_room(samples: Samples, generator: np.random.Generator) -> Samples:
    """With a decaying echo that falls by 60 dB in 0.1 to 0.5 s."""
    size = int(generator.uniform(0.1, 0.5) * SAMPLE_RATE)
    echo = generator.standard_normal(size) * np.exp(-6.9 * np.arange(size) / size)
    echo *= generator.uniform(0.1, 0.5) / np.sqrt((echo**2).sum())
    echo[0] = 1
    length = len(samples) + size
    spectrum = np.fft.rfft(samples, length) * np.fft.rfft(echo, length)
    return np.fft.irfft(spectrum, length)[: len(samples)].astype(np.float32)


def _through_channel(samples: Samples, generator: np.random.Generator) -> Samples:
    """Without what is below 0 to 300 Hz, and above 3 to 6 kHz."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    spectrum[(hz < generator.uniform(0, 300)) | (hz > generator.uniform(3_000, 6_000))] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)
