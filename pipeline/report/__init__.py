"""The pages that describe a version to people: `report.html`, and the data card `README.md`."""

from collections.abc import Callable

import pyarrow.dataset as ds

from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.planning.plan import Plan
from pipeline.report.card import card
from pipeline.report.facts import turn_facts
from pipeline.report.listen import Clip
from pipeline.report.page import render, select_of
from pipeline.report.sample_parts import stored_parts
from schemas.errors import DataError
from schemas.manifest import Manifest
from stages.stage import Samples


def pages(plan: Plan) -> Callable[[Manifest, dict[str, ds.Dataset]], dict[str, bytes]]:
    """A function that renders the pages of a plan's version from its manifest, its tables and its shards."""
    clip = _clip(plan)

    def make(manifest: Manifest, tables: dict[str, ds.Dataset]) -> dict[str, bytes]:
        turns, set_aside, index = (tables[name] for name in ("turns", "set_aside", "index"))
        facts = turn_facts(turns, select_of(manifest))
        parts_of = stored_parts(plan.dataset, f"versions/{manifest.version}")
        return {
            "README.md": card(manifest, facts).encode(),
            "report.html": render(manifest, facts, turns, set_aside, index, clip, parts_of).encode(),
        }

    return make


def _clip(plan: Plan) -> Clip:
    """Reads audio of a plan's recordings from the spool, which is filled again where it is missing."""
    audio = SpooledAudio(scratch_folder(plan.recipe.scratch), plan.recipe.decode, plan.stages[0].fingerprint)
    inputs = {item.id: item for unit in plan.units for item in unit.recordings}

    def clip(recording: str, track: int, start: float, end: float) -> Samples | None:
        try:
            return audio.read(inputs[recording].recording("{}"), track, start, end)
        except (DataError, KeyError):  # moved, changed or gone since it was annotated
            return None

    return clip
