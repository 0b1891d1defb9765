"""The funnel of songs: what is left of their audio after each step."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.recording import STAGES
from stages.select import LIMITS

PAPER_SHARE = 0.178
"""Share of singing and rap that was left in Step-Audio-AQAA, of the same kinds of steps."""

_CHECKS = [code for code, _, _ in LIMITS.values()]


@dataclass(frozen=True)
class FunnelStep:
    """A step at which audio is set aside; in seconds."""

    reason: str
    """`stage/code`."""
    aside: float
    left: float


def song_funnel(seconds: Mapping[str, float]) -> list[FunnelStep]:
    """The steps in the order in which they are taken, from the `songs` of a manifest; none without songs."""
    left = seconds.get("audio", 0.0)
    if not left:
        return []
    turns = {name: value for name, value in seconds.items() if name != "audio"}
    aside = {name: value for name, value in turns.items() if name != "kept"}
    steps = []
    # Turns of two tracks may last longer together than their recording.
    without_turns = max(0.0, left - sum(turns.values()))
    for reason, value in [("no turn", without_turns), *sorted(aside.items(), key=lambda s: _order(s[0]))]:
        left -= value
        steps.append(FunnelStep(reason, value, max(0.0, left)))
    return steps


def _order(reason: str) -> tuple[int, int, str]:
    stage, _, code = reason.partition("/")
    return (
        STAGES.index(stage) if stage in STAGES else len(STAGES),
        _CHECKS.index(code) if code in _CHECKS else -1,
        reason,
    )
