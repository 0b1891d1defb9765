"""Labels for speaking styles, by the measure that they describe, and the names of emotions."""

from schemas.dialect import DIALECTS, dialect_of

SCALES = {
    "rate": ("slow", "normal", "fast"),
    "pitch": ("low", "normal", "high"),
    "liveliness": ("flat", "normal", "lively"),
    "loudness": ("soft", "normal", "loud"),
}
"""Measure -> its labels, from low to high."""

WHISPERED = "whispered"
"""The label of the measure `voicing`, which isn't relative to how somebody else speaks."""


def measure_of(label: str) -> str:
    """The measure that a label describes; `dialect` for the name of a known one, else `emotion`."""
    if label == WHISPERED:
        return "voicing"
    other = "dialect" if dialect_of(label) in DIALECTS else "emotion"
    return next((name for name, scale in SCALES.items() if label in scale and label != "normal"), other)


EMOTIONS = {
    "angry": ("ang",),
    "happy": ("hap", "joy"),
    "sad": ("sad",),
    "neutral": ("neu",),
    "fearful": ("fea",),
    "disgusted": ("dis",),
    "surprised": ("sur",),
}
"""Emotion -> how names of it begin in the labels of public models, such as `ang`, `Anger` or `生气/angry`."""


def emotion_of(label: str) -> str:
    """The emotion that a label names."""
    name = label.rpartition("/")[2].strip().lower()
    return next((emotion for emotion, begins in EMOTIONS.items() if name.startswith(begins)), name)
