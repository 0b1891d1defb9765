"""Who the speakers of recordings are: people whose voices are enrolled, or one person in several recordings.

Diarization tells the speakers of one recording apart. Its embeddings of them are compared here, by their
cosines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.stage import Config

VERSION = 1

Vectors = NDArray[np.float64]
"""Unit-length embeddings, [speakers, d] or [d]."""


class IdentifyConfig(Config):
    voices: str | None = Field(
        None,
        description="a directory or prefix with a recording, or a directory of recordings, of each person's "
        "voice alone, named like the person (null: nobody is enrolled)",
    )
    similarity_min: float = Field(
        0.7, ge=-1, le=1, description="least cosine between two voices of one person"
    )
    across_recordings: bool = Field(
        False, description="name speakers who aren't enrolled alike in all recordings, by their voices"
    )

    @property
    def is_used(self) -> bool:
        return self.voices is not None or self.across_recordings


@dataclass(frozen=True)
class Identity:
    """Who a speaker is, and how certain that is."""

    name: str
    similarity: float
    """Cosine with the voice of that name."""
    margin: float | None
    """By how much it is more like that voice than like any other; None without another."""


def identify(
    keys: Sequence[str],
    seconds: Sequence[float],
    vectors: Vectors,
    enrolled: Mapping[str, Vectors],
    config: IdentifyConfig,
) -> dict[str, Identity]:
    """Key of a speaker -> who it is, for those of whom it can be said.

    `vectors` [n, d] are their voices and `enrolled` [d] those of people, of length 1; `seconds` is how long
    each speaks. The result doesn't depend on the order of the speakers.
    """
    found: dict[str, Identity] = {}
    if enrolled and keys:
        names = sorted(enrolled)
        found |= _most_alike(keys, vectors @ np.stack([enrolled[name] for name in names]).T, names, config)
    if config.across_recordings:
        left = sorted(
            (n for n, key in enumerate(keys) if key not in found), key=lambda n: (-seconds[n], keys[n])
        )
        if left:
            chosen = [keys[n] for n in left]
            names, voices = _voices(chosen, np.asarray(seconds)[left], vectors[left], config.similarity_min)
            found |= _most_alike(chosen, vectors[left] @ voices.T, names, config)
    return found


def _most_alike(
    keys: Sequence[str], cosines: Vectors, names: Sequence[str], config: IdentifyConfig
) -> dict[str, Identity]:
    """The most similar voice of each speaker, where it is similar enough."""
    found = {}
    for key, row in zip(keys, cosines, strict=True):
        order = np.argsort(-row, kind="stable")
        best = float(row[order[0]])
        if best >= config.similarity_min:
            margin = best - float(row[order[1]]) if len(order) > 1 else None
            found[key] = Identity(
                names[order[0]], round(best, 4), None if margin is None else round(margin, 4)
            )
    return found


def _voices(
    keys: Sequence[str], seconds: Vectors, vectors: Vectors, similarity_min: float
) -> tuple[list[str], Vectors]:
    """The voices among speakers, in the order of those who speak longest: a speaker joins the most similar
    voice, or is a new one. A voice is named by the key of its first speaker."""
    sums = np.empty_like(vectors)
    names: list[str] = []
    for key, length, vector in zip(keys, seconds, vectors, strict=True):
        known = sums[: len(names)]
        row = known @ vector / np.linalg.norm(known, axis=1)
        if len(names) and row.max() >= similarity_min:
            sums[int(row.argmax())] += length * vector
        else:
            sums[len(names)] = length * vector
            names.append(key)
    voices = sums[: len(names)]
    return names, voices / np.linalg.norm(voices, axis=1, keepdims=True)
