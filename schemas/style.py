"""Labels for speaking styles, by the measure that they describe."""

SCALES = {
    "rate": ("slow", "normal", "fast"),
    "pitch": ("low", "normal", "high"),
    "liveliness": ("flat", "normal", "lively"),
    "loudness": ("soft", "normal", "loud"),
}
"""Measure -> its labels, from low to high."""


def measure_of(label: str) -> str:
    """The measure that a label describes, or `emotion` for any other label."""
    return next((name for name, scale in SCALES.items() if label in scale and label != "normal"), "emotion")
