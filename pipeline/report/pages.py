"""Both pages of the version that a plan is built to."""

from collections.abc import Callable

import pyarrow.dataset as ds

from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.planning.plan import Plan
from pipeline.report.card import card
from pipeline.report.facts import turn_facts
from pipeline.report.page import render
from pipeline.report.recording_audio import RecordingAudio
from pipeline.report.sample_parts import stored_parts
from pipeline.storage import dataset_layout as layout
from pipeline.versions.provenance import select_of
from schemas.manifest import Manifest
from schemas.recording import Recording


def pages(plan: Plan) -> Callable[[Manifest, dict[str, ds.Dataset]], dict[str, bytes]]:
    """A function that renders the pages of a plan's version from its manifest, its tables and its shards."""

    listed = {item.id: item for unit in plan.units for item in unit.recordings}

    def find(recording: str) -> Recording | None:
        return listed[recording].recording("{}") if recording in listed else None

    def make(manifest: Manifest, tables: dict[str, ds.Dataset]) -> dict[str, bytes]:
        turns, set_aside, index = (tables[name] for name in ("turns", "set_aside", "index"))
        facts = turn_facts(turns, select_of(manifest))
        parts_of = stored_parts(plan.dataset, layout.version(manifest.version))
        scratch = scratch_folder(plan.recipe.scratch)
        with SpooledAudio(scratch, plan.recipe.decode, plan.stages[0].fingerprint) as audio:
            page = render(manifest, facts, turns, set_aside, index, RecordingAudio(audio, find), parts_of)
        return {"README.md": card(manifest, facts).encode(), "report.html": page.encode()}

    return make
