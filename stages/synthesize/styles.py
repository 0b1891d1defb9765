"""Speaking styles, and answers that change their style on the way."""

import re
from collections.abc import Collection
from itertools import pairwise

from pydantic import Field

from schemas.hashing import hash_fraction
from schemas.style import measure_of
from stages.stage import Config
from stages.synthesize.checks import letters

PLAIN = "plain"
"""Name of the unmodified voice."""

SPAN_LETTERS_MIN = 8
"""Minimum number of letters in a span of an answer, for its style to be audible."""


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
    tag: str | None = Field(
        None,
        min_length=1,
        description="mark before the text that a server takes as a style, such as `(happy)` or `(四川话)`: "
        "one of `speech.server.tags`",
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
        return bool(self.instructions or self.tag) or numbers.get(label, False)


UNCHANGED = StyleConfig()
STYLES = {
    "slow": StyleConfig(speed=0.75),
    "fast": StyleConfig(speed=1.35),
    "soft": StyleConfig(gain_db=-10),
}


def labels_of(style: str, styles: Collection[str]) -> dict[str, str]:
    """Measure, `emotion` or `dialect` -> label, for speech in `style` among all `styles` of the recipe. Plain
    speech has no label for its dialect."""
    plain = {measure: "neutral" if measure == "emotion" else "normal" for measure in map(measure_of, styles)}
    plain.pop("dialect", None)
    return plain if style == PLAIN else plain | {measure_of(style): style}


def draw_styles(key: str, styles: Collection[str], number: int) -> tuple[str, ...]:
    """The styles of a number of spans, `PLAIN` among them, drawn by a hash of the key; neighbours differ."""
    names = [PLAIN, *sorted(styles)]
    drawn: list[str] = []
    sequences = len(names) * (len(names) - 1) ** (number - 1)
    left = int(hash_fraction(key, bits=48) * sequences)
    for _ in range(number):
        others = [name for name in names if name not in drawn[-1:]]
        sequences //= len(others)
        place, left = divmod(left, sequences)
        drawn.append(others[place])
    return tuple(drawn)


_SENTENCE = r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？…]+[”’」』）]*"
_CLAUSE = r"[,;:][\"'”’)\]]*(?=\s)|\s[–—-](?=\s)|[，；：、]+"
_ENDS = (re.compile(_SENTENCE), re.compile(f"{_SENTENCE}|{_CLAUSE}"))


def split(text: str, number: int) -> tuple[str, ...] | None:
    """A text split into a number of spans of about one length, between sentences, or else clauses too.

    None if that leaves a span with under half of its share of the letters, or under `SPAN_LETTERS_MIN`.
    """
    total = letters(text)
    least = max(SPAN_LETTERS_MIN, total / (2 * number))
    for ends in _ENDS:
        before = {end.end(): letters(text[: end.end()]) for end in ends.finditer(text)}
        if not before:
            continue
        cuts = [min(before, key=lambda cut: abs(number * before[cut] - n * total)) for n in range(1, number)]
        spans = tuple(text[start:end].strip() for start, end in pairwise([0, *cuts, len(text)]))
        if min(map(letters, spans)) >= least:
            return spans
    return None


def changing_styles(
    text: str, key: str, styles: Collection[str], share: float, spans_max: int
) -> tuple[str, ...]:
    """The styles of the spans of a share of the texts, drawn by a hash of the key; empty for the other texts,
    and for those that can't be split."""
    if styles and hash_fraction(f"{key} halves", bits=48) < share:
        most = 2 + int(hash_fraction(f"{key} spans", bits=48) * (spans_max - 1))
        for number in range(most, 1, -1):
            if split(text, number):
                return draw_styles(f"{key} styles", styles, number)
    return ()
