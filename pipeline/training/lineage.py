"""Records what was trained from a version, so that `versions show` lists it and `gc` keeps the version."""

import json
from pathlib import Path

from pipeline.config.recipe import digest
from pipeline.versions.gc import record_use
from pipeline.versions.provenance import TRAINED_FROM
from pipeline.versions.reader import Version


def note_use(version: Version, recipe: str, stage: str, run: str, code_version: str) -> None:
    """`run` is the URI of the stage's folder."""
    use = {"kind": "training", "run": run, "recipe": recipe, "stage": stage, "code_version": code_version}
    name = f"training-{recipe}-{stage}-{digest(run)[:8]}.json"
    record_use(version.store, version.id, name, json.dumps(use).encode())


def note_origin(version: Version, folder: Path) -> None:
    """Note in a stage's folder where its version is, for evaluations of the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    place = {"uri": version.store.uri, "version": version.id}
    (folder / TRAINED_FROM).write_text(json.dumps(place) + "\n", encoding="utf-8")
