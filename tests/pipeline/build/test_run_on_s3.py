"""A build with inputs and outputs in object storage gives the same version as a local one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage.store import Store
from tests.conftest import DEMO

COMMAND = str(Path(sys.executable).with_name("aqaa-data"))


def build(recipe, *arguments):
    done = subprocess.run(
        [COMMAND, "build", recipe, "--json", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "in"
    (folder / "calls").mkdir(parents=True)
    for name in ("monologues/LJ002-0020.wav", "monologues/LJ002-0020.wav.json", "broken/html_error.flac"):
        shutil.copy(DEMO / name, folder / "calls")
    return folder


@pytest.mark.slow
def test_a_build_from_s3_to_s3_gives_the_same_version(inputs, tmp_path, bucket):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: small\ntranscribe: {model: 'package:whisper-tiny-en'}\n")
    local = build(recipe, "--input", inputs, "--output", tmp_path / "out")
    store = Store(f"{bucket}/in")
    for path in inputs.rglob("*.*"):
        store.put_new(str(path.relative_to(inputs)), path)
    remote = build(recipe, "--input", f"{bucket}/in", "--output", f"{bucket}/out")
    assert remote["recordings"] == {"in": 2, "kept": 1, "set_aside": 1}
    assert (remote["version"], remote["shards"]) == (local["version"], local["shards"])
    again = build(recipe, "--input", f"{bucket}/in", "--output", f"{bucket}/out")
    assert (again["status"], again["seconds"]) == ("nothing new", {})
    verified = subprocess.run([COMMAND, "versions", "verify", f"{bucket}/out/small"], capture_output=True)
    assert verified.returncode == 0, verified.stderr
