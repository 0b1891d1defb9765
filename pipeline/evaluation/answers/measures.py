"""The measures of a conversation, from what the ears heard of each answer."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from pipeline.evaluation.answers.ears import Heard, voice_likeness
from pipeline.evaluation.answers.kept import KeptTurn

TITLES = {
    "word_errors": "Words heard otherwise than written",
    "dnsmos": "DNSMOS overall, 1 to 5",
    "letters_per_second": "Letters per second of speech",
    "pitch_hz": "Pitch, Hz",
    "pitch_range": "Range of the pitch, semitones",
    "loudness": "Loudness, LUFS",
    "voice_likeness": "Likeness of the voice over turns (least cosine)",
    "right_language": "Share of answers in the language asked for",
    "first_sound": "Seconds to the first sound",
    "total": "Seconds to the end",
    "grammar": "Steps whose likeliest id obeys the layout, without the mask",
}
"""Measure -> title."""


def measures_of(turns: Sequence[KeptTurn], language: str) -> dict[str, float | None]:
    """Means over the answers of a conversation, which should be in a language."""
    heard = [turn.heard for turn in turns]
    spoken = [each.language == language for each in heard if each.language]
    return {
        **{
            name: _mean([getattr(each, name) for each in heard])
            for name in ("word_errors", "dnsmos", "letters_per_second", "pitch_hz", "pitch_range", "loudness")
        },
        "voice_likeness": voice_likeness(heard),
        "right_language": fmean(spoken) if spoken else None,
        "first_sound": _mean([turn.latency.get("first_sound") for turn in turns]),
        "total": _mean([turn.latency.get("total") for turn in turns]),
        "grammar": obeying(turns),
    }


def obeying(turns: Sequence[KeptTurn]) -> float | None:
    """Share of the steps of some answers at which the likeliest of all ids obeys the layout."""
    steps, broken = grammar_of(turns)
    return 1 - sum(broken.values()) / steps if steps else None


def grammar_of(turns: Sequence[KeptTurn]) -> tuple[int, dict[str, int]]:
    """The steps of some answers, and rule -> steps at which the likeliest of all ids would have broken it."""
    total: Counter[str] = Counter()
    for turn in turns:
        total.update(turn.grammar or {})
    return total.pop("steps", 0), dict(total)


def facts_for_judge(turns: Sequence[Heard]) -> str:
    """The measures of the voice as lines for a judge; empty without speech."""
    lines = []
    for number, heard in enumerate(turns, 1):
        parts = [
            f"{value:.1f} {unit}"
            for value, unit in (
                (heard.letters_per_second, "letters a second"),
                (heard.pitch_hz, "Hz of pitch"),
                (heard.pitch_range, "semitones of range"),
                (heard.loudness, "LUFS"),
            )
            if value is not None
        ]
        if heard.emotions:
            parts.append(f"likeliest {heard.emotions[0].name}")
        if parts:
            lines.append(f"answer {number}: {', '.join(parts)}, heard as {heard.language}")
    return "\n".join(lines)


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None
