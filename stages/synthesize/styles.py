"""Speaking styles, and answers that change their style halfway."""

import re
from collections.abc import Collection
from itertools import permutations

from pydantic import Field

from schemas.hashing import hash_fraction
from schemas.style import measure_of
from stages.stage import Config
from stages.synthesize.checks import letters

PLAIN = "plain"
"""Name of the unmodified voice."""

HALF_LETTERS_MIN = 8
"""Minimum number of letters in a half, for its style to be audible."""


class StyleConfig(Config):
    """How a voice speaks, and how its audio is processed."""

    speed: float = Field(1.0, ge=0.5, le=2, description="speed relative to the unmodified voice")
    semitones: float = Field(
        0.0,
        ge=-4,
        le=4,
        description="change of pitch, by resampling; this shifts the formants too, so the voice sounds like "
        "that of a larger or smaller person, and `instructions` to a server may sound better",
    )
    gain_db: float = Field(
        0.0,
        ge=-40,
        le=12,
        description="change of loudness; the peaks of what becomes louder are rounded off at full scale",
    )
    instructions: str | None = Field(
        None,
        description="instructions to a server, such as `Speak sadly.`, for what the other keys can't express",
    )

    @property
    def pace(self) -> float:
        """Speed at which to speak before resampling, relative to the unmodified voice."""
        return self.speed * 2 ** (-self.semitones / 12)

    def matches(self, label: str) -> bool:
        """Whether the settings have the effect that the label names."""
        numbers = {
            "slow": self.speed < 1,
            "fast": self.speed > 1,
            "low": self.semitones < 0,
            "high": self.semitones > 0,
            "soft": self.gain_db < 0,
            "loud": self.gain_db > 0,
        }
        if measure_of(label) == "emotion":
            numbers[label] = self.speed != 1 and self.semitones != 0
        return bool(self.instructions) or numbers.get(label, False)


UNCHANGED = StyleConfig()
STYLES = {
    "slow": StyleConfig(speed=0.75),
    "fast": StyleConfig(speed=1.35),
    "soft": StyleConfig(gain_db=-10),
}


def labels_of(style: str, styles: Collection[str]) -> dict[str, str]:
    """Measure or `emotion` -> label, for speech in `style` among all `styles` of the recipe."""
    plain = {measure: "neutral" if measure == "emotion" else "normal" for measure in map(measure_of, styles)}
    return plain if style == PLAIN else plain | {measure_of(style): style}


def draw_styles(key: str, styles: Collection[str]) -> tuple[str, str]:
    """Two different styles, one of which may be `PLAIN`, drawn by a hash of the key."""
    pairs = list(permutations([PLAIN, *sorted(styles)], 2))
    return pairs[int(hash_fraction(key, bits=48) * len(pairs))]


_SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？…]+[”’」』）]*")
_CLAUSE = re.compile(r"[,;:][\"'”’)\]]*(?=\s)|\s[–—-](?=\s)|[，；：、]+")


def halves(text: str) -> tuple[str, str] | None:
    """A text split between two sentences, or else two clauses, as close to the middle as possible.

    None if each such split leaves a half with under a quarter of the letters, or under `HALF_LETTERS_MIN`.
    """
    least = max(HALF_LETTERS_MIN, letters(text) / 4)
    for ends in (_SENTENCE, _CLAUSE):
        cuts = [(text[: end.end()].strip(), text[end.end() :].strip()) for end in ends.finditer(text)]
        fit = [cut for cut in cuts if min(map(letters, cut)) >= least]
        if fit:
            return min(fit, key=lambda cut: abs(letters(cut[0]) - letters(cut[1])))
    return None
