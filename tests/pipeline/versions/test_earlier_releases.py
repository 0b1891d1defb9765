"""Versions that earlier releases published still open: listed, shown, verified, compared and trained on."""

import json
import shutil

import pytest

from pipeline.versions.reader import Reference, open_version
from tests.paths import FIXTURES

VERSION = "5edb75fe5390ad43"


@pytest.fixture
def before(tmp_path):
    """A dataset of release 0.1.0, whose recipe still has the sections `assess`, `converse` and `prefer`."""
    return shutil.copytree(FIXTURES / "dataset-0.1.0" / "before", tmp_path / "before")


def test_it_opens_with_its_own_recipe(before):
    manifest = open_version(Reference.parse(str(before))).manifest
    assert {"assess", "converse", "prefer"} <= manifest.recipe.keys()
    assert manifest.samples == {"aqtaa": 1, "asr": 5, "preference": 1}


@pytest.mark.parametrize("action", ["list", "show", "verify"])
def test_the_commands_read_it(before, command, action):
    done = command("versions", action, before, *(["--json"] if action != "verify" else []))
    assert done.code == 0, done.stderr
    assert VERSION in done.stdout


STRAYS = (".DS_Store", ".nfs0001", "1~", ".1.swp", "notes.txt")


def test_files_of_other_programs_are_ignored(before, command):
    folders = ("", "refs", "refs/latest", "versions", f"versions/{VERSION}", "plans", "lineage", "leases")
    more = (
        f"lineage/{VERSION}",
        "forgotten",
        "annotations",
        "annotations/00ff",
        "annotations/sidecars",
        "runs",
    )
    for folder in (*folders, *more):
        (before / folder).mkdir(exist_ok=True, parents=True)
        for name in STRAYS if folder != f"versions/{VERSION}" else STRAYS[:2]:
            (before / folder / name).write_bytes(b"Bud1")
    for arguments in (
        ("list", before),
        ("show", before),
        ("verify", before),
        ("show", before, "--recording", "none.wav"),
        ("tag", before, "good"),
        ("gc", before, "--older-than", "0"),
        ("forget", before, "none.wav", "--confirm"),
    ):
        done = command("versions", *arguments)
        assert done.code == 0, (arguments, done.stderr)
    assert open_version(Reference.parse(f"{before}@good")).id == VERSION


def test_it_is_compared_with_a_version_of_today(before, small_build, command):
    done = command("versions", "diff", before, small_build.dataset, "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)


def test_its_samples_are_shown(before, command):
    done = command("inspect", before, "9f1102341cad3daa-00002-00003-aqtaa")
    assert done.code == 0, done.stderr
    assert "az_katiesteve.flac" in done.stdout


def test_it_is_trained_on(before, command, tmp_path):
    recipe = tmp_path / "train.yaml"
    recipe.write_text(
        f"name: old\ndataset: {before}\noutput: runs\nbackbone: {{preset: tiny}}\n"
        "train: {sequence_length: 1024}\nsft1: {families: [aqtaa]}\n"
    )
    done = command("train", recipe, "--set", "sft1.epochs=1")
    assert done.code == 0, done.stderr
    assert (tmp_path / "runs" / "old" / "sft1" / "model").is_dir()
