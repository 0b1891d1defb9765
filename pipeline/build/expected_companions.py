"""What a build will do with the files beside its recordings, as far as their names tell."""

from dataclasses import dataclass, field

from pipeline.planning.plan import Plan
from schemas.companions import by_preference
from schemas.recording import Companion

SHOWN = 3
"""Names per kind and reason."""


@dataclass
class ExpectedUse:
    """Companions of one kind that have the same use."""

    kind: str
    used: bool
    why: str
    """What for, or why they are left."""
    number: int = 0
    names: list[str] = field(default_factory=list)
    """The first of them."""


def expected_companions(plan: Plan) -> list[ExpectedUse]:
    """The companions of a plan's recordings by kind and use, then those that belong to no recording."""
    found: dict[tuple[str, bool, str], ExpectedUse] = {}
    spoken = {recording.id for recording in plan.synthesis.recordings} if plan.synthesis else set()
    for unit in plan.units:
        for recording in unit.recordings:
            if recording.id in spoken:
                continue
            for companion, used, why in _uses(plan, by_preference(recording.companions)):
                use = found.setdefault((companion.kind, used, why), ExpectedUse(companion.kind, used, why))
                use.number += 1
                if len(use.names) < SHOWN:
                    use.names.append(companion.name)
    uses = sorted(found.values(), key=lambda use: (not use.used, use.why, use.kind))
    strays = sum(root.strays for root in plan.listing.roots)
    if strays:
        names = [name for root in plan.listing.roots for name in root.strays_shown][:SHOWN]
        uses.append(ExpectedUse("", False, "no recording has their name", strays, names))
    return uses


def _uses(plan: Plan, companions: list[Companion]) -> list[tuple[Companion, bool, str]]:
    """(companion, whether it is used, why) of one recording's companions, the most preferred first."""
    recipe = plan.recipe
    uses = []
    for place, companion in enumerate(companions):
        if recipe.diarize.existing == "use" and place == 0:
            use = (companion, True, "turns, if it has labels" if companion.kind == "txt" else "turns")
        elif recipe.transcribe.existing != "ignore" and companion.kind == "ctm":
            use = (companion, True, "words")
        elif recipe.diarize.existing == "use":
            use = (companion, False, "another kind is preferred")
        else:
            use = (companion, False, "`diarize.existing` is `ignore`")
        uses.append(use)
    return uses
