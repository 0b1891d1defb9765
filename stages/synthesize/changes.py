"""Changed copies of voices: more voices than there are, nearer and farther from the microphone."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from schemas.hashing import hash_fraction, hash_integer
from stages.stage import Config, Samples
from stages.synthesize.audio import SynthesizedAudio, apply_style
from stages.synthesize.styles import StyleConfig

DIRECT_DB = 6
"""Level of the sound that comes straight from the mouth above that of the room's echo."""

Range = tuple[float, float]


class VoiceChangesConfig(Config):
    """How the voice of a conversation's human is changed, drawn by a hash of the conversation."""

    share: float = Field(0.8, ge=0, le=1, description="share of the conversations whose human is changed")
    speeds: tuple[float, ...] = Field(
        (0.9, 1.0, 1.1), min_length=1, description="speeds to draw from, relative to the unmodified voice"
    )
    semitones: Range = Field(
        (-3, 3),
        description="range of the change of pitch, formants and speed together, by resampling: larger and "
        "smaller people",
    )
    silence: Range = Field(
        (0, 0.6),
        description="range of the seconds of silence before, and of those after the words, as where a "
        "microphone is switched on and off by hand",
    )
    noise_share: float = Field(0.5, ge=0, le=1, description="share of the changed that have noise")
    noise_db: Range = Field(
        (15, 40), description="range of the level of speech above that of the noise, in dB"
    )
    room_share: float = Field(0.3, ge=0, le=1, description="share of the changed that have an echo")
    room_seconds: Range = Field(
        (0.1, 0.4), description="range of the seconds in which the echo falls by 60 dB"
    )

    @model_validator(mode="after")
    def _check_ranges(self) -> "VoiceChangesConfig":
        for name in ("semitones", "silence", "noise_db", "room_seconds"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"`{name}` is a range from low to high, not [{low:g}, {high:g}]")
        if not all(0.5 <= speed <= 2 for speed in self.speeds):
            raise ValueError("`speeds` are from 0.5 to 2")
        if self.silence[0] < 0 or self.room_seconds[0] <= 0:
            raise ValueError("`silence` is at least 0, and `room_seconds` above 0")
        if not -4 <= self.semitones[0] <= self.semitones[1] <= 4:
            raise ValueError("`semitones` are from -4 to 4")
        return self

    def drawn(self, key: str) -> "VoiceChange | None":
        """The change of a conversation's human; None for those that stay as they are."""

        def within(name: str, limits: Range) -> float:
            low, high = limits
            return round(low + (high - low) * hash_fraction(f"{key} {name}"), 2)

        if hash_fraction(f"{key} changed") >= self.share:
            return None
        has_noise = hash_fraction(f"{key} has noise") < self.noise_share
        has_room = hash_fraction(f"{key} has room") < self.room_share
        return VoiceChange(
            speed=self.speeds[hash_integer(f"{key} speed") % len(self.speeds)],
            semitones=within("semitones", self.semitones),
            before=within("before", self.silence),
            after=within("after", self.silence),
            noise_db=within("noise", self.noise_db) if has_noise else None,
            room_seconds=within("room", self.room_seconds) if has_room else None,
            seed=hash_integer(f"{key} noise", bits=32),
        )


@dataclass(frozen=True)
class VoiceChange:
    """How a voice is changed that speaks at `speed`."""

    speed: float
    semitones: float
    before: float
    """Seconds of silence before the words."""
    after: float
    """Seconds of silence after the words."""
    noise_db: float | None
    """Level of speech above that of the noise; None without noise."""
    room_seconds: float | None
    """In which the echo falls by 60 dB; None without an echo."""
    seed: int
    """Of noise and echo."""

    def __call__(self, utterance: SynthesizedAudio) -> SynthesizedAudio:
        """An utterance that was spoken at `speed`, changed, with peaks of at most 1."""
        # Resampling changes the speed too, so equal texts are spoken only at the few speeds of the recipe.
        samples = apply_style(utterance, StyleConfig(semitones=self.semitones)).samples
        samples = np.pad(samples, [round(seconds * utterance.rate) for seconds in (self.before, self.after)])
        generator = np.random.default_rng(self.seed)
        if self.room_seconds is not None:
            samples = in_room(samples, round(self.room_seconds * utterance.rate), generator)
        if self.noise_db is not None:
            samples = samples + noise_under(samples, self.noise_db, generator)
        peak = float(np.abs(samples).max(initial=0))
        return SynthesizedAudio((samples / max(1.0, peak)).astype(np.float32), utterance.rate)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def in_room(samples: Samples, length: int, generator: np.random.Generator) -> Samples:
    """Samples [n] with an echo of noise that falls by 60 dB over `length` samples; [n], its tail is cut."""
    echo = generator.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    echo *= 10 ** (-DIRECT_DB / 20) / np.sqrt((echo**2).sum())
    echo[0] = 1
    size = len(samples) + length
    sound = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)
    return sound[: len(samples)].astype(np.float32)


def noise_under(samples: Samples, db: float, generator: np.random.Generator) -> Samples:
    """Noise [n], between white and red, with a power of `db` below that of samples [n] where these sound."""
    spectrum = np.fft.rfft(generator.standard_normal(len(samples)))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** generator.uniform(0, 0.7)
    noise = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
    sounding = samples[np.abs(samples) > np.abs(samples).max() / 100]
    power = float(np.mean(np.square(sounding, dtype=np.float64))) if sounding.size else 0.0
    return noise * np.float32(np.sqrt(power / max(float(np.mean(noise**2)), 1e-12) / 10 ** (db / 10)))
