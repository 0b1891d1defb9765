"""What a version tells a person: `report.html`, and the data card `README.md`."""

from collections.abc import Callable

import pyarrow.dataset as ds

from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.planning.plan import Plan
from pipeline.report.card import card
from pipeline.report.facts import turn_facts
from pipeline.report.listen import Clip
from pipeline.report.page import render, select_of
from schemas.errors import DataError
from schemas.manifest import Manifest
from stages.stage import Samples


def pages(plan: Plan) -> Callable[[Manifest, dict[str, ds.Dataset]], dict[str, bytes]]:
    """What makes the pages of a plan's version, from its manifest and its tables."""
    clip = _clip(plan)

    def make(manifest: Manifest, tables: dict[str, ds.Dataset]) -> dict[str, bytes]:
        turns, set_aside, index = (tables[name] for name in ("turns", "set_aside", "index"))
        facts = turn_facts(turns, select_of(manifest))
        return {
            "README.md": card(manifest, facts).encode(),
            "report.html": render(manifest, facts, turns, set_aside, index, clip).encode(),
        }

    return make


def _clip(plan: Plan) -> Clip:
    """Audio of a plan's recordings from their spool, which is made again where it is gone."""
    audio = SpooledAudio(scratch_folder(plan.recipe.scratch), plan.recipe.decode, plan.stages[0].fingerprint)
    inputs = {item.id: item for unit in plan.units for item in unit.recordings}

    def clip(recording: str, track: int, start: float, end: float) -> Samples | None:
        try:
            return audio.read(inputs[recording].recording("{}"), track, start, end)
        except DataError:  # moved or changed since it was annotated
            return None

    return clip
