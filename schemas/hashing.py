"""Random-looking but reproducible numbers: a text's SHA-256 as a sort key, an integer or a number in [0, 1).

Every draw of the pipeline (splits, shuffles, caps, phrasings, voices, contrasts) is a hash of a key, never a
generator with a state: the same key draws the same in every build, on every node, and a dataset that grows
changes no draw of the data that it already had. Versions depend on these values, so they must never change.
"""

import hashlib


def shuffle_key(text: str) -> str:
    """SHA-256 of a text in hexadecimal; sorting by it shuffles reproducibly."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_integer(text: str, bits: int = 64) -> int:
    """0 <= integer < 2^bits: the first bits of the text's SHA-256, big-endian; `bits` is a multiple of 8."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: bits // 8], "big")


def hash_fraction(text: str, bits: int = 64) -> float:
    """A number in [0, 1), uniform over texts, with that many bits of the hash."""
    return hash_integer(text, bits) / (1 << bits)
