"""Ways to say something, and answers that change theirs half way."""

import re
from collections.abc import Collection
from itertools import permutations

from pydantic import Field

from schemas.hashing import hash_fraction
from schemas.style import measure_of
from stages.stage import Config
from stages.synthesize.checks import letters

PLAIN = "plain"
"""The voice's own way."""

LETTERS_MIN = 8
"""In a half, to hear how it is said."""


class StyleConfig(Config):
    """What a voice is asked for, and what is done to its sound."""

    speed: float = Field(1.0, ge=0.5, le=2, description="times the voice's own")
    semitones: float = Field(
        0.0,
        ge=-4,
        le=4,
        description="pitch, by playing a slower or faster reading at another rate: formants go along, so "
        "that it sounds like a larger or smaller person; a server that takes instructions may do better",
    )
    gain_db: float = Field(
        0.0, ge=-40, le=0, description="loudness; a voice may be at full scale, so that none is made louder"
    )
    instructions: str | None = Field(
        None, description="what a server is told, for what no number says, such as `Speak sadly.`"
    )

    @property
    def pace(self) -> float:
        """Times the voice's own speed at which it reads, so that speed and pitch are right in the end."""
        return self.speed * 2 ** (-self.semitones / 12)

    def makes(self, label: str) -> bool:
        """Whether it asks for what the label says."""
        numbers = {
            "slow": self.speed < 1,
            "fast": self.speed > 1,
            "low": self.semitones < 0,
            "high": self.semitones > 0,
            "soft": self.gain_db < 0,
        }
        return bool(self.instructions) or numbers.get(label, False)


OWN = StyleConfig()
STYLES = {
    "slow": StyleConfig(speed=0.75),
    "fast": StyleConfig(speed=1.35),
    "soft": StyleConfig(gain_db=-10),
}


def labels_of(style: str, styles: Collection[str]) -> dict[str, str]:
    """Measure or `emotion` -> label of what is said in a style, beside the others."""
    plain = {measure: "neutral" if measure == "emotion" else "normal" for measure in map(measure_of, styles)}
    return plain if style == PLAIN else plain | {measure_of(style): style}


def draw_styles(key: str, styles: Collection[str]) -> tuple[str, str]:
    """Two different ones, of which one may be the voice's own way, the same for the same key."""
    pairs = list(permutations([PLAIN, *sorted(styles)], 2))
    return pairs[int(hash_fraction(key, bits=48) * len(pairs))]


_SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？…]+[”’」』）]*")
_CLAUSE = re.compile(r"[,;:][\"'”’)\]]*(?=\s)|\s[–—-](?=\s)|[，；：、]+")


def halves(text: str) -> tuple[str, str] | None:
    """A text cut between two sentences, or else two clauses, as near to its middle as can be.

    None where one side would be under a quarter, or too short to hear how it is said.
    """
    least = max(LETTERS_MIN, letters(text) / 4)
    for ends in (_SENTENCE, _CLAUSE):
        cuts = [(text[: end.end()].strip(), text[end.end() :].strip()) for end in ends.finditer(text)]
        fit = [cut for cut in cuts if min(map(letters, cut)) >= least]
        if fit:
            return min(fit, key=lambda cut: abs(letters(cut[0]) - letters(cut[1])))
    return None
