"""Small recipes on recordings of the demo, and their undisturbed result."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import DEMO
from tests.faults.builds import STAGES, contents, running

FEW = ("monologues/LJ002-0020.wav", "monologues/1688-142285-0003.flac", "broken/html_error.flac")
"""Two with a few seconds of speech, and one that isn't audio."""


@dataclass(frozen=True)
class Few:
    """A recipe on a few recordings, and its undisturbed version."""

    recipe: Path
    version: str
    files: dict[str, bytes]
    """All files of the version."""

    @property
    def inputs(self) -> Path:
        return self.recipe.parent / "in"

    @property
    def dataset(self) -> Path:
        return self.recipe.parent / "out" / "few"

    @property
    def stages(self) -> dict[str, str]:
        """Stage -> fingerprint."""
        return dict(json.loads(self.files["manifest.json"])["stages"])

    def with_annotations(self, dataset: Path, before: str) -> None:
        """Copy the annotations of the stages before one into a dataset, as an interrupted build leaves it."""
        for stage in STAGES[: STAGES.index(before)] if before in STAGES else STAGES:
            folder = f"annotations/{self.stages[stage]}"
            shutil.copytree(self.dataset / folder, dataset / folder)


def write_recipe(folder: Path, names: tuple[str, ...] = FEW) -> Path:
    """Write a recipe with the small English recogniser and one unit per recording."""
    (folder / "in").mkdir(parents=True)
    for name in names:
        shutil.copy(DEMO / name, folder / "in")
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "name: few\ninputs: [in]\noutput: out\nunits: {recordings: 1}\n"
        "transcribe: {model: 'package:whisper-tiny-en'}\n"
    )
    return recipe


def build_undisturbed(folder: Path) -> Few:
    """Build the few recordings in a folder, or reuse an earlier build there."""
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        write_recipe(folder)
    with running(recipe) as build:
        version = build.wait().output["version"]
    dataset = folder / "out" / "few"
    return Few(recipe, version, contents(dataset / "versions" / version))
