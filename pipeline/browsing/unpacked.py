"""Annotations before they are packed, as a version whose turns can be browsed: those of a build that is
running or was stopped, or under thresholds that nobody has packed with yet."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.build.publish import manifest_of
from pipeline.pack.global_decisions import prompts_of
from pipeline.pack.group_packer import GroupPacker
from pipeline.pack.groups import Decisions, Group, cut, each_group
from pipeline.pack.run import vocabulary_of
from pipeline.planning.plan import Plan
from pipeline.versions.reader import Version
from schemas.arrow import schema_of, table_of
from schemas.errors import SetupError
from schemas.turn import TurnRow

UNPACKED = "unpacked"
"""In place of the id of a version."""


def annotated_part(plan: Plan) -> Plan:
    """The plan with those of its units alone that every stage has annotated.

    Raises SetupError if there is none.
    """
    by_stage = plan.committed()
    done = set.intersection(*(set(units) for units in by_stage.values()))
    units = tuple(unit for unit in plan.units if unit.name in done)
    if not units:
        raise SetupError(
            f"{plan.dataset.uri} has no annotation of this recipe yet: run `aqaa-data build` with it; turns "
            "can be browsed as soon as the first recordings are through all stages"
        )
    return replace(plan, units=units, texts=())


def unpacked_version(annotated: Plan) -> Version:
    """What an annotated plan would be packed from, as a version without files."""
    return Version(annotated.dataset, manifest_of(annotated, [], UNPACKED, [], []))


@contextmanager
def unpacked_turns(annotated: Plan) -> Iterator[Path]:
    """The turns of an annotated plan as a table like a version's, while the context is open.

    Each turn is kept (`eligible`) or set aside by the recipe. What takes a view of the whole dataset is
    decided when it is packed: duplicates, caps, and who the speakers are.
    """
    compose = annotated.recipe.compose.model_copy(update={"families": ()})
    recipe = annotated.recipe.model_copy(update={"compose": compose})
    dataset = annotated.dataset

    def turns(group: Group) -> bytes:
        packer = GroupPacker(recipe, vocabulary_of(recipe), prompts_of(recipe), Decisions())
        for recording in group.recordings(dataset):
            packer.add(recording)
        buffer = BytesIO()
        pq.write_table(table_of(TurnRow, packer.turns), buffer)
        return buffer.getvalue()

    with tempfile.TemporaryDirectory(prefix="aqaa-data-unpacked-") as folder:
        path = Path(folder) / "turns.parquet"
        with pq.ParquetWriter(path, schema_of(TurnRow)) as writer:
            for content in each_group(cut(annotated), turns):
                writer.write_table(pq.read_table(BytesIO(content)))
        yield path
