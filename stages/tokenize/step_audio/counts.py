"""The number of codes of an utterance, which follows from its number of samples at 16 kHz."""

CHUNK = 3840
"""Samples (240 ms) of a chunk, for which four linguistic codes become final together."""
PIECE = 480_000
"""Samples (30 s) of a piece. The semantic encoder encodes pieces independently."""
LEAST_PIECE = 480
"""Samples below which the last piece gets no semantic codes."""
LEAST_TAIL = 880
"""Samples below which the rest after the last whole chunk gets no linguistic codes."""


def linguistic_count(samples: int) -> int:
    """Number of codes of 60 ms: four per whole chunk, then one per six frames, rounded up, of the rest."""
    chunks, rest = divmod(samples, CHUNK)
    return 4 * chunks + (-(-((rest - 240) // 160) // 6) if rest >= LEAST_TAIL else 0)


def semantic_count(samples: int) -> int:
    """Number of codes of 40 ms: 750 per whole piece, then one per four frames, rounded up, of the rest."""
    pieces, rest = divmod(samples, PIECE)
    return 750 * pieces + (-(-(rest // 160) // 4) if rest >= LEAST_PIECE else 0)
