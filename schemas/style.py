"""How speech sounds: the labels of each measure."""

SCALES = {
    "rate": ("slow", "normal", "fast"),
    "pitch": ("low", "normal", "high"),
    "liveliness": ("flat", "normal", "lively"),
    "loudness": ("soft", "normal", "loud"),
}
"""From little to much."""


def measure_of(label: str) -> str:
    """What a label says something of: one of the measures, else `emotion`."""
    return next((name for name, scale in SCALES.items() if label in scale and label != "normal"), "emotion")
