"""Caps per speaker and language, and the mixture of families: what exceeds its share is left out, by hash.

Nothing is repeated: the family with the least data for its weight limits all the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from schemas.hashing import hash_integer
from stages.stage import Config

VERSION = 1

STRETCH = 300.0
"""Seconds of a recording that caps keep or drop together, so that questions stay with their answers."""


class MixtureConfig(Config):
    weights: dict[str, PositiveFloat] = Field(
        {},
        description="family -> its share of all tokens, in any unit, such as {continuation: 2, replay: 1}; "
        "empty: everything that there is",
    )
    speaker_hours_max: PositiveFloat | None = Field(
        None,
        description="most hours of kept turns of one speaker; whom the sidecar's `speaker` names is the same "
        "in all recordings",
    )
    language_hours_max: PositiveFloat | None = Field(
        None, description="most hours of kept turns in one language"
    )


@dataclass(frozen=True)
class MixtureTurn:
    """What caps need to know about a kept turn."""

    key: str
    recording: str
    start: float
    seconds: float
    speaker: str
    language: str


def exceeding_caps(turns: Sequence[MixtureTurn], config: MixtureConfig) -> dict[str, str]:
    """Key of a turn -> `speaker` or `language`, for the turns beyond the cap of that speaker or language."""
    ordered = sorted(turns, key=lambda turn: (_draw(f"{turn.recording} {turn.start // STRETCH}"), turn.key))
    over: dict[str, str] = {}
    for name, hours in (("speaker", config.speaker_hours_max), ("language", config.language_hours_max)):
        if hours is None:
            continue
        seconds: dict[str, float] = {}
        for turn in ordered:
            if turn.key in over:
                continue
            whose = getattr(turn, name)
            seconds[whose] = seconds.get(whose, 0.0) + turn.seconds
            if seconds[whose] > hours * 3600:
                over[turn.key] = name
    return over


def fit_mixture(
    keys: Sequence[str], families: Sequence[str], tokens: NDArray[np.int64], weights: Mapping[str, float]
) -> NDArray[np.bool_]:
    """Mask [n] of the samples to keep, so that the tokens of the families are in proportion to their weights.

    A family without samples is ignored; a family without a weight is kept whole.
    """
    family = np.asarray(families, dtype=object)
    there = {name: int(tokens[family == name].sum()) for name in weights}
    shares = {name: weight for name, weight in weights.items() if there[name]}
    stay = np.ones(len(keys), bool)
    if not shares:
        return stay
    unit = min(there[name] / weight for name, weight in shares.items())
    for name, weight in shares.items():
        own = np.flatnonzero(family == name)
        order = own[np.argsort([_draw(keys[n]) for n in own.tolist()], kind="stable")]
        stay[order] = np.cumsum(tokens[order]) <= unit * weight * (1 + 1e-9)
    return stay


def _draw(key: str) -> int:
    return hash_integer(f"mixture:{key}")
