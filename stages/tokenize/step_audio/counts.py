"""How many codes an utterance gets, from its number of samples at 16 kHz alone."""

CHUNK = 3840
"""Samples (240 ms) whose four linguistic codes are final together."""
PIECE = 480_000
"""Samples (30 s) that the semantic encoder hears at once; the next piece knows nothing of them."""
LEAST_PIECE = 480
"""A shorter piece at the end gets no semantic codes."""
LEAST_TAIL = 880
"""A shorter rest of a chunk gets no linguistic codes."""


def linguistic_count(samples: int) -> int:
    """Codes of 60 ms: four a whole chunk, then one for each six frames begun in the rest."""
    chunks, rest = divmod(samples, CHUNK)
    return 4 * chunks + (-(-((rest - 240) // 160) // 6) if rest >= LEAST_TAIL else 0)


def semantic_count(samples: int) -> int:
    """Codes of 40 ms: 750 a whole piece, then one for each four frames begun in the rest."""
    pieces, rest = divmod(samples, PIECE)
    return 750 * pieces + (-(-(rest // 160) // 4) if rest >= LEAST_PIECE else 0)
