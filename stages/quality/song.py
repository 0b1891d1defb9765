"""Measures of a sung turn: its key, its tempo and its vibrato."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.quality.voice import semitones
from stages.stage import SAMPLE_RATE, Samples

Floats = NDArray[np.floating[Any]]

FRAME = 0.01
"""Seconds of a frame of pitch or of onsets."""

KEY_SECONDS_MIN = 3.0
"""Voiced seconds, and number of pitch classes with a twentieth of them each, from which there is a key."""
KEY_CLASSES_MIN = 4
KEY_CORRELATION_MIN = 0.6
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
"""How well each pitch class, from the tonic on, fits a key (Krumhansl and Kessler, 1982)."""

TEMPO_SECONDS_MIN = 6.0
TEMPO_RANGE = (50.0, 200.0)
"""Beats per minute."""
TEMPO_USUAL = 100.0
"""Beats per minute that are likeliest where half and twice as many fit as well; an octave is a deviation."""
TEMPO_CORRELATION_MIN = 0.15
"""Autocorrelation of onsets at the beat, from which there is a tempo."""

VIBRATO_HZ = (4.0, 8.0)
VIBRATO_WINDOW = 60
"""Frames in which a vibrato is looked for."""
VIBRATO_EXPLAINED_MIN = 0.7
"""Share of the pitch's variance in a window, without its trend, that one sine must explain."""
VIBRATO_CENTS_MIN = 20.0
VIBRATO_GLIDE_MAX = 150.0
"""Cents by which the trend of the pitch may change within the window: more is another note."""


@dataclass(frozen=True)
class SongMeasures:
    """What is measurable of key, tempo and vibrato; None where it isn't."""

    key: str | None = None
    """Such as `A minor`."""
    tempo_bpm: float | None = None
    vibrato_hz: float | None = None
    vibrato_cents: float | None = None
    """How far the pitch goes up and down from its middle."""


def song_measures(samples: Samples, hz: Samples) -> SongMeasures:
    """Measures of samples [n] at 16 kHz with their frequencies [frames of 10 ms] in Hz, 0 where unvoiced."""
    rate, extent = vibrato(hz) or (None, None)
    return SongMeasures(key(hz), tempo(samples), rate, extent)


def key(hz: Samples) -> str | None:
    """The major or minor key whose profile correlates most with the time on each pitch class, by frequencies
    [frames] in Hz; None for too few notes or without a clear one. The singer's tuning doesn't matter."""
    pitch = semitones(hz[hz > 0])
    if len(pitch) * FRAME < KEY_SECONDS_MIN:
        return None
    tuning = np.angle(np.mean(np.exp(2j * np.pi * pitch))) / (2 * np.pi)
    time = np.bincount(np.rint(pitch - tuning).astype(int) % 12, minlength=12).astype(float)
    if np.count_nonzero(time > time.sum() / 20) < KEY_CLASSES_MIN:
        return None
    found = {
        f"{_NAMES[tonic]} {mode}": float(np.corrcoef(np.roll(profile, tonic), time)[0, 1])
        for mode, profile in _PROFILES.items()
        for tonic in range(12)
    }
    best = max(found, key=lambda name: found[name])
    return best if found[best] >= KEY_CORRELATION_MIN else None


def tempo(samples: Samples) -> float | None:
    """Beats per minute of samples [n] at 16 kHz, by the autocorrelation of their onsets; None for short ones
    and without a regular beat."""
    onsets = _onsets(samples)
    slowest, fastest = (round(60 / bpm / FRAME) for bpm in TEMPO_RANGE)
    if len(onsets) * FRAME < TEMPO_SECONDS_MIN or not onsets.any():
        return None
    onsets = onsets - onsets.mean()
    spectrum = np.abs(np.fft.rfft(onsets, 2 * len(onsets))) ** 2
    repeats = np.fft.irfft(spectrum)[: slowest + 2]
    repeats = repeats / repeats[0] * len(onsets) / (len(onsets) - np.arange(slowest + 2))
    lags = np.arange(fastest, slowest + 1)
    usual = np.exp(-0.5 * np.log2(60 / (lags * FRAME) / TEMPO_USUAL) ** 2)
    lag = int(lags[np.argmax(repeats[lags] * usual)])
    if repeats[lag] < TEMPO_CORRELATION_MIN:
        return None
    before, at, after = repeats[lag - 1 : lag + 2]
    curve = before - 2 * at + after
    return float(60 / ((lag + (0.5 * (before - after) / curve if curve < 0 else 0)) * FRAME))


def vibrato(hz: Samples) -> tuple[float, float] | None:
    """Rate in Hz, and extent in cents to each side, of the vibrato in frequencies [frames] in Hz: the medians
    over the windows that have one; None if none has."""
    time = np.arange(VIBRATO_WINDOW) * FRAME
    trend = np.polynomial.polynomial.polyvander(time - time.mean(), 2)
    rates = np.arange(VIBRATO_HZ[0], VIBRATO_HZ[1] + 0.01, 0.1)
    found: list[tuple[float, float]] = []
    for pitch in _voiced_stretches(hz):
        for start in range(0, len(pitch) - VIBRATO_WINDOW + 1, VIBRATO_WINDOW // 6):
            cents = 100 * pitch[start : start + VIBRATO_WINDOW]
            slow = trend @ np.linalg.lstsq(trend, cents, rcond=None)[0]
            rest = cents - slow
            if np.ptp(slow) > VIBRATO_GLIDE_MAX or not rest.any():
                continue
            fits = [_sine(rest, time, trend, rate) for rate in rates]
            best = int(np.argmax([explained for explained, _ in fits]))
            explained, extent = fits[best]
            inside = 0 < best < len(rates) - 1  # at an end the rate is outside
            if inside and explained >= VIBRATO_EXPLAINED_MIN and extent >= VIBRATO_CENTS_MIN:
                found.append((float(rates[best]), extent))
    if not found:
        return None
    rate, extent = np.median(found, axis=0)
    return float(rate), float(extent)


def _sine(rest: Floats, time: Floats, trend: Floats, rate: float) -> tuple[float, float]:
    """Share of the variance that a sine of a rate explains beside the trend, and its amplitude."""
    waves = np.stack([np.sin(2 * np.pi * rate * time), np.cos(2 * np.pi * rate * time)], axis=1)
    both = np.concatenate([trend, waves], axis=1)
    weights = np.linalg.lstsq(both, rest, rcond=None)[0]
    explained = 1 - float(((rest - both @ weights) ** 2).sum() / (rest**2).sum())
    return explained, float(np.hypot(weights[-2], weights[-1]))


def _voiced_stretches(hz: Samples) -> list[Floats]:
    pitch, place = semitones(hz), 0
    stretches: list[Floats] = []
    for voiced, frames in groupby(hz > 0):
        length = len(list(frames))
        if voiced:
            stretches.append(pitch[place : place + length])
        place += length
    return stretches


def _onsets(samples: Samples) -> Floats:
    """How much louder each frame of 10 ms is than the one before, over the bands of its spectrum."""
    hop, window = round(FRAME * SAMPLE_RATE), 512
    if len(samples) < window:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window).astype(np.float32), axis=1)) ** 2
    edges = np.unique(np.geomspace(2, window // 2, 25).astype(int))
    bands = np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-4)
    rise = np.diff(bands, axis=0).clip(0).mean(axis=1)
    return np.convolve(rise, np.hanning(7) / np.hanning(7).sum(), "same").astype(np.float64)
