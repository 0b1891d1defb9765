"""The code version that manifests and training runs record."""

import re
import subprocess
from importlib.metadata import version as installed_version

import pytest

from pipeline.build import publish
from pipeline.versions.provenance import code_version
from tests.paths import ROOT
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import a_turn

RELEASE = installed_version("aqaa-data")


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("tag", "v9.9")
    return tmp_path, git("rev-parse", "--short=12", "HEAD")


def test_a_checkout_is_named_by_its_commit(checkout):
    folder, commit = checkout
    assert code_version(folder) == f"{RELEASE}+g{commit}"


def test_changed_files_are_marked(checkout):
    folder, commit = checkout
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    code_version.cache_clear()
    assert code_version(folder) == f"{RELEASE}+g{commit}.dirty"


def test_without_a_checkout_or_git_it_is_the_installed_release(checkout, tmp_path_factory, monkeypatch):
    assert code_version(tmp_path_factory.mktemp("installed")) == RELEASE
    monkeypatch.setenv("PATH", "")
    code_version.cache_clear()
    assert code_version(checkout[0]) == RELEASE


def test_a_package_inside_another_repository_does_not_take_its_commit(checkout):
    folder, _ = checkout
    (folder / "pyproject.toml").unlink()
    code_version.cache_clear()
    assert code_version(folder) == RELEASE


def test_the_manifest_records_it_and_no_id_depends_on_it(tmp_path, monkeypatch):
    manifests = []
    for name in ("1.0+gaaaa", "2.0+gbbbb"):
        monkeypatch.setattr(publish, "code_version", lambda name=name: name)
        folder = tmp_path / name
        folder.mkdir()
        manifests.append(packed(planned(folder, {"a.wav": [a_turn(recording="a.wav")]})))
    one, other = manifests
    assert (one.code_version, other.code_version) == ("1.0+gaaaa", "2.0+gbbbb")
    assert one.version == other.version


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_here_it_is_a_commit():
    assert re.fullmatch(rf"{re.escape(RELEASE)}\+g[0-9a-f]{{12}}(\.dirty)?", code_version())
