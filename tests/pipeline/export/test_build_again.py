"""A build from what was exported has the same turns and codes as the version that it was exported from."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.export.run import export
from pipeline.versions.reader import Reference, Version, open_version
from tests.conftest import SmallBuild

RECIPE = """
name: again
inputs: [exported]
output: out
diarize: {existing: use}
transcribe: {model: 'package:whisper-tiny-en', existing: use}
"""
OF_TURNS = ("hf", "nemo-tarred")
"""Formats with a file of audio for each turn."""


@pytest.fixture(scope="module")
def original(small_build: SmallBuild) -> Version:
    return open_version(Reference.parse(str(small_build.dataset)))


def built_again(folder: Path) -> Version:
    (folder / "recipe.yaml").write_text(RECIPE)
    command = Path(sys.executable).with_name("aqaa-data")
    run = [command, "build", folder / "recipe.yaml", "--json"]
    completed = subprocess.run(run, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    assert json.loads(completed.stdout)["version"]
    return open_version(Reference.parse(str(folder / "out" / "again")))


def kept(version: Version, folder: Path):
    """Rows of the kept turns with their codes."""
    export(version, "hf", folder, only_kept=True)
    return [row for file in sorted((folder / "data").iterdir()) for row in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize(
    "format",
    ["lhotse", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nemo", "kaldi", *OF_TURNS))],
)
def test_kept_turns_have_the_same_times_texts_and_codes(original, tmp_path, format):
    export(original, format, tmp_path / "exported", only_kept=True)
    before = kept(original, tmp_path / "before")
    after = kept(built_again(tmp_path), tmp_path / "after")
    if format == "kaldi":  # other recordings than WAV are piped, and pipes are refused
        before = [row for row in before if row["recording"].endswith(".wav")]
    same = ["text", "linguistic", "semantic"] + ["start", "end"] * (format not in OF_TURNS)
    # Each format names recordings in its own way.
    found, exported = (sorted([row[name] for name in same] for row in rows) for rows in (after, before))
    assert found == exported
    assert before
