"""How many turns are heard in the style that is claimed of them, by style and by what spoke."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class StyleCounts:
    """Turns that are claimed to be in a style or to have an emotion."""

    style: str
    voice: str = ""
    """What spoke them; empty for all voices and people."""
    confirmed: int = 0
    refused: int = 0
    not_measured: int = 0

    @property
    def asked(self) -> int:
        return self.confirmed + self.refused + self.not_measured

    @property
    def share(self) -> str:
        """Of what is measured."""
        measured = self.confirmed + self.refused
        return f"{100 * self.confirmed / measured:.0f} %" if measured else ""


def style_counts(turns: Mapping[str, int]) -> list[StyleCounts]:
    """From `styles` or `voice_styles` of a manifest, by voice and style."""
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for name, number in turns.items():
        claim, _, outcome = name.rpartition("/")
        voice, _, style = claim.rpartition("/")
        found[voice, style][outcome] = number
    return [StyleCounts(style, voice, **found[voice, style]) for voice, style in sorted(found)]
