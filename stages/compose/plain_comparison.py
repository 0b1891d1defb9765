"""Speech in a style against the same words that its voice spoke plainly, measure by measure."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.style import SCALES


@dataclass(frozen=True)
class PlainComparison:
    """One measure of both."""

    label: str
    """On the scale of the measure, `normal` for no difference that counts."""
    plain: float
    heard: float
    unit: str

    def __str__(self) -> str:
        return f"{self.heard:.4g} {self.unit}, and {self.plain:.4g} spoken plainly"


def compare_with_plain(
    plain: Mapping[str, Any], heard: Mapping[str, Any], limits: Mapping[str, float]
) -> dict[str, PlainComparison]:
    """Measure -> comparison, of those that both have: `speech_seconds`, `pitch_median_hz`,
    `pitch_range_semitones` and `loudness_lufs`.

    `limits`: measure -> difference on a scale where equal differences are equally audible, from which speech
    has another label than `normal`.
    """
    found = {}
    for name, (field, unit, scale) in _MEASURES.items():
        before, after = scale(plain.get(field)), scale(heard.get(field))
        if before is not None and after is not None:
            label = on_scale(SCALES[name], after - before, limits[name])
            found[name] = PlainComparison(label, plain[field], heard[field], unit)
    return found


def on_scale(scale: tuple[str, str, str], deviation: float, limit: float) -> str:
    """The label of a deviation from what is normal."""
    return scale[1 + (deviation >= limit) - (deviation <= -limit)]


def logarithm(value: float | None) -> float | None:
    return math.log(value) if value is not None and value > 0 else None


def semitones(hz: float | None) -> float | None:
    return 12 * math.log2(hz) if hz is not None and hz > 0 else None


def _rate(seconds: float | None) -> float | None:
    """Of the same words: less time is a higher rate."""
    return logarithm(1 / seconds if seconds else None)


_MEASURES: dict[str, tuple[str, str, Callable[[float | None], float | None]]] = {
    "rate": ("speech_seconds", "s of speech", _rate),
    "pitch": ("pitch_median_hz", "Hz", semitones),
    "liveliness": ("pitch_range_semitones", "semitones of range", logarithm),
    "loudness": ("loudness_lufs", "LUFS", lambda lufs: lufs),
}
