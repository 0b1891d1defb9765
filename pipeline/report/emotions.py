"""How many of the emotions that turns claim are heard in them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ClaimedEmotion:
    name: str
    claimed: int
    """Kept turns."""
    confirmed: int


def claimed_emotions(turns: Mapping[str, int]) -> list[ClaimedEmotion]:
    """From the `emotions` of a manifest; none without an ear for emotions."""
    names = sorted({name.rpartition("/")[0] for name in turns})
    counts = [(name, turns.get(f"{name}/confirmed", 0), turns.get(f"{name}/refused", 0)) for name in names]
    return [ClaimedEmotion(name, confirmed + refused, confirmed) for name, confirmed, refused in counts]
