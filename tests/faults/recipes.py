"""Small recipes over the demo's recordings, and what they come to when nothing happens."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import DEMO
from tests.faults.builds import STAGES, contents, running

FEW = ("monologues/LJ002-0020.wav", "monologues/1688-142285-0003.flac", "broken/html_error.flac")
"""A few seconds of speech each, and one that is none."""


@dataclass(frozen=True)
class Few:
    """A recipe over a few recordings, and its undisturbed version."""

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

    def begun(self, dataset: Path, before: str) -> None:
        """Put what the stages before one have committed into a dataset, as a stopped build leaves it."""
        for stage in STAGES[: STAGES.index(before)] if before in STAGES else STAGES:
            place = f"annotations/{self.stages[stage]}"
            shutil.copytree(self.dataset / place, dataset / place)


def a_recipe(folder: Path, names: tuple[str, ...] = FEW) -> Path:
    """A recipe over some of the demo's recordings, each a unit, with the small English recogniser."""
    (folder / "in").mkdir(parents=True)
    for name in names:
        shutil.copy(DEMO / name, folder / "in")
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "name: few\ninputs: [in]\noutput: out\nunits: {recordings: 1}\n"
        "transcribe: {model: 'package:whisper-tiny-en'}\n"
    )
    return recipe


def undisturbed(folder: Path) -> Few:
    """The few recordings built into a folder, or read from there where they were built before."""
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        a_recipe(folder)
    with running(recipe) as build:
        version = build.wait().said["version"]
    dataset = folder / "out" / "few"
    return Few(recipe, version, contents(dataset / "versions" / version))
