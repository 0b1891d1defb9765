"""A dataset with given annotations in its ledger, as annotate commits them: the input of pack."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from pipeline.build.publish import publish
from pipeline.config.recipe import load
from pipeline.ledger.annotations import Ledger
from pipeline.pack.run import groups_of, pack_group
from pipeline.planning.plan import Plan, make_plan
from pipeline.report.pages import pages
from schemas.manifest import Manifest
from schemas.recording import (
    DecodeColumn,
    Diarization,
    DiarizeColumn,
    QualityColumn,
    Recording,
    Speaker,
    TokenizeColumn,
    TranscribeColumn,
)
from schemas.turn import AnnotatedTurn


def planned(
    folder: Path,
    turns: Mapping[str, Sequence[AnnotatedTurn]],
    speakers: Mapping[str, tuple[Speaker, ...]] = MappingProxyType({}),
    **recipe: Any,
) -> Plan:
    """The plan of a recipe whose recordings have these turns, and speakers if they matter; recipe, inputs and
    output are in `folder`."""
    file = recipe_of(folder, turns, **recipe)
    plan = make_plan(load(file))
    commit(plan, turns, speakers)
    return plan


def recipe_of(folder: Path, turns: Mapping[str, Sequence[AnnotatedTurn]], **recipe: Any) -> Path:
    """The recipe, and files in the place of its recordings."""
    inputs = folder / "in"
    inputs.mkdir(parents=True, exist_ok=True)
    for name, own in turns.items():
        if not (inputs / name).exists():
            (inputs / name).parent.mkdir(parents=True, exist_ok=True)
            (inputs / name).write_bytes(name.encode())
            if own and own[0].metadata:
                (inputs / f"{name}.json").write_text(json.dumps(own[0].metadata))
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump({"name": "given", "inputs": ["in"], "output": "out"} | recipe))
    return file


def commit(
    plan: Plan,
    turns: Mapping[str, Sequence[AnnotatedTurn]],
    speakers: Mapping[str, tuple[Speaker, ...]] = MappingProxyType({}),
) -> None:
    """Write the annotations of a plan's units."""
    ledger = Ledger(plan.dataset)
    for unit in plan.units:
        recordings = [
            _recording(item.recording("{}"), turns[item.id], speakers.get(item.id, ()))
            for item in unit.recordings
        ]
        for stage in plan.stages:
            ledger.write(stage.name, stage.fingerprint, unit.name, recordings)


def packed(plan: Plan, with_pages: bool = False) -> Manifest:
    """Pack and publish a plan; the manifest of the version."""
    groups = groups_of(plan)
    done = [pack_group(group, plan.recipe, plan.dataset, plan.stages[0].fingerprint) for group in groups]
    manifest, _ = publish(plan, done, pages(plan) if with_pages else lambda manifest, tables: {})
    return manifest


def _recording(listed: Recording, turns: Sequence[AnnotatedTurn], speakers: tuple[Speaker, ...]) -> Recording:
    diarized = Diarization("model", (), speakers, tuple(turn.turn for turn in turns))
    return replace(
        listed,
        decode=DecodeColumn(replace(turns[0].decoded, sha256=_sha256(turns)) if turns else None),
        diarize=DiarizeColumn(diarized),
        transcribe=TranscribeColumn(tuple(turn.transcript for turn in turns)),
        quality=QualityColumn(tuple(turn.assessment for turn in turns)),
        tokenize=TokenizeColumn(tuple(turn.codes for turn in turns)),
    )


def _sha256(turns: Sequence[AnnotatedTurn]) -> str:
    return turns[0].metadata.get("sha256", turns[0].recording)
