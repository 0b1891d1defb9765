"""The folder for a machine with a GPU and without a package index."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu import bundle
from tests.paths import ROOT


def test_wheels_are_of_the_pinned_versions():
    pins = (ROOT / "constraints.txt").read_text()
    assert len(bundle.pinned()) == len(bundle.WHEELS)
    assert all(f"\n{requirement} " in f"\n{pins}" for requirement in bundle.pinned())


@pytest.mark.slow  # downloads wheels
def test_the_folder_runs_by_itself_and_is_small(tmp_path):
    folder = tmp_path / "bundle"
    bundle.bundle(folder, f"{sys.version_info.major}.{sys.version_info.minor}")
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < bundle.MOST_BYTES
    command = ["bash", folder / "run.sh", "--device", "cpu", "--tiny", "--minutes", "60"]
    command += ["--steps", "vocoder", "backbone", "--output", tmp_path / "found"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, check=True, cwd="/", env=os.environ | {"PATH": path})
    results = json.loads((tmp_path / "found" / "results.json").read_text())
    assert {name: facts["ended"] for name, facts in results.items() if name != "machine"} == {
        "vocoder": "done",
        "backbone": "done",
    }
