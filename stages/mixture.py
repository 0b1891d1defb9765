"""Limit the hours of each speaker, language and dialect, and the proportions of sample families.

The turns and samples to drop are chosen by hash, so that the choice is deterministic and stable as the
dataset grows. Samples are never repeated: the family with the least data relative to its weight limits all
others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from schemas.hashing import hash_integer
from stages.stage import Config

VERSION = 1

CAP_WINDOW_SECONDS = 300.0
"""Turns that start within the same window of a recording are kept or dropped by caps together, so that
questions stay with their answers."""


class MixtureConfig(Config):
    weights: dict[str, PositiveFloat] = Field(
        {},
        description="relative weights of the families, by tokens, such as `{continuation: 2, replay: 1}`; "
        "families without a weight are kept whole; empty: keep all samples",
    )
    speaker_hours_max: PositiveFloat | None = Field(
        None,
        description="maximum hours of kept turns per speaker; speakers that are named by the sidecar field "
        "`speaker`, or by `identify`, are one over all recordings",
    )
    language_hours_max: PositiveFloat | None = Field(
        None, description="maximum hours of kept turns per language"
    )
    dialect_hours_max: PositiveFloat | None = Field(
        None, description="maximum hours of kept turns per dialect; turns without one are not limited"
    )

    @property
    def hours_max(self) -> dict[str, float]:
        """The property of a turn that is limited -> hours for each of its values."""
        named = {name: getattr(self, f"{name}_hours_max") for name in ("speaker", "language", "dialect")}
        return {name: hours for name, hours in named.items() if hours is not None}


@dataclass(frozen=True)
class MixtureTurn:
    """The properties of a kept turn that caps depend on; times are in seconds."""

    key: str
    recording: str
    start: float
    seconds: float
    speaker: str
    language: str
    dialect: str | None = None


def exceeding_caps(
    turns: Sequence[MixtureTurn],
    config: MixtureConfig,
    used: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> dict[str, str]:
    """Turn key -> the cap that the turn exceeds, such as `speaker`, for turns to be dropped.

    `used` has the seconds that are kept already, by cap and value.
    """
    ordered = sorted(
        turns, key=lambda turn: (_hash(f"{turn.recording} {turn.start // CAP_WINDOW_SECONDS}"), turn.key)
    )
    exceeding: dict[str, str] = {}
    for name, hours in config.hours_max.items():
        seconds = dict(used.get(name, {}))
        for turn in ordered:
            value = getattr(turn, name)
            if turn.key in exceeding or value is None:
                continue
            seconds[value] = seconds.get(value, 0.0) + turn.seconds
            if seconds[value] > hours * 3600:
                exceeding[turn.key] = name
    return exceeding


def fit_mixture(
    keys: Sequence[str], families: Sequence[str], tokens: NDArray[np.int64], weights: Mapping[str, float]
) -> NDArray[np.bool_]:
    """Choose samples so that the token counts of the families are proportional to their weights.

    Families without samples are ignored; families without a weight are kept whole.

    Args:
        keys: key of each sample [samples].
        families: family of each sample [samples].
        tokens: number of tokens of each sample [samples].
        weights: family -> relative weight.

    Returns:
        Mask [samples] of the samples to keep.
    """
    family = np.asarray(families, dtype=object)
    available = {name: int(tokens[family == name].sum()) for name in weights}
    present = {name: weight for name, weight in weights.items() if available[name]}
    keep = np.ones(len(keys), bool)
    if not present:
        return keep
    tokens_per_weight = min(available[name] / weight for name, weight in present.items())
    for name, weight in present.items():
        indices = np.flatnonzero(family == name)
        order = indices[np.argsort([_hash(keys[n]) for n in indices.tolist()], kind="stable")]
        keep[order] = np.cumsum(tokens[order]) <= tokens_per_weight * weight * (1 + 1e-9)
    return keep


def _hash(key: str) -> int:
    return hash_integer(f"mixture:{key}")
