"""What an export leaves behind when it is stopped, and how it goes on."""

import os
import signal
import subprocess
import sys

import pytest

from pipeline.export import parts
from pipeline.export.destination import REQUEST, UNFINISHED, Destination
from pipeline.export.exported import Exported
from pipeline.export.run import FORMATS, export
from pipeline.storage.store import Store
from schemas.errors import SetupError
from tests.paths import ROOT

KILLED = """
import os, signal, sys
from pipeline.export import parts, run
from pipeline.versions.reader import Reference, open_version

parts.RECORDINGS = 1
writes = run.TOGETHER[sys.argv[2]]

def killed(recordings, folder, version, number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return writes(recordings, folder, version, number)

run.TOGETHER[sys.argv[2]] = killed
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one part after the other
run.export(open_version(Reference.parse(sys.argv[1])), sys.argv[2], sys.argv[3])
"""


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def small_parts(monkeypatch):
    """Every recording is a part."""
    monkeypatch.setattr(parts, "RECORDINGS", 1)


@pytest.mark.parametrize("format", ["nemo-tarred", "lhotse"])
def test_a_killed_export_goes_on_after_the_parts_that_it_had_made(
    spoken, dataset, tmp_path, small_parts, format
):
    script = [sys.executable, "-c", KILLED, str(dataset), format, str(tmp_path / "out")]
    assert subprocess.run(script, cwd=ROOT, timeout=300).returncode == -signal.SIGKILL
    made = sorted((tmp_path / "out" / UNFINISHED).glob("*/made.json"))
    assert [path.parent.name for path in made] == ["000000", "000001"]
    before = {path: path.stat().st_ino for path in (tmp_path / "out").glob("audio_*.tar")}

    lines = []
    done = export(spoken, format, tmp_path / "out", progress=lines.append)
    assert lines == ["3 of 3 parts written"]
    assert done == export(spoken, format, tmp_path / "at once")
    assert contents(tmp_path / "out") == contents(tmp_path / "at once")
    assert {path: path.stat().st_ino for path in before} == before


@pytest.mark.parametrize("format", FORMATS)
def test_no_line_or_file_is_lost_or_written_twice_in_small_parts(spoken, tmp_path, monkeypatch, format):
    whole = export(spoken, format, tmp_path / "whole")
    monkeypatch.setattr(parts, "RECORDINGS", 1)
    assert export(spoken, format, tmp_path / "parts") == whole
    if format not in ("hf", "nemo-tarred"):  # these have a file for each part
        assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_stopped_export_to_a_bucket_goes_on(spoken, dataset, bucket, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})  # one part after the other
    file = dataset.parents[1] / "in" / "texts only.wav"  # of the last part
    content = file.read_bytes()
    file.unlink()
    try:
        with pytest.raises(SetupError, match=r"texts(%20| )only\.wav"):
            export(spoken, "hf", f"{bucket}/out")
    finally:
        file.write_bytes(content)
    store = Store(f"{bucket}/out")
    assert store.exists(REQUEST)
    export(spoken, "hf", f"{bucket}/out")
    export(spoken, "hf", tmp_path)
    there = {file.path: store.get(file.path) for file in store.list()}
    assert there == {str(path): data for path, data in contents(tmp_path).items()}


def test_another_export_is_not_mixed_in(tmp_path):
    there = Destination(str(tmp_path), {"version": "a"})
    there.make([lambda folder: Exported(turns=(folder / "a").write_text("a"))], (), print)
    with pytest.raises(SetupError, match=r"has an unfinished export of something else: name another folder"):
        Destination(str(tmp_path), {"version": "b"})
    again = Destination(str(tmp_path), {"version": "a"})
    assert again.make([lambda folder: Exported()], (), print) == Exported(turns=1)


def test_a_finished_export_is_left_alone_if_it_was_killed_while_it_tidied_up(tmp_path):
    (tmp_path / UNFINISHED / "000000").mkdir(parents=True)
    (tmp_path / "audio.tar").touch()
    with pytest.raises(SetupError, match=r"has files already, such as audio\.tar"):
        Destination(str(tmp_path), {})


def test_parts_are_counted_together():
    parts = [Exported(turns=1, renamed=2), Exported(turns=3)]
    assert Exported.total(parts) == Exported(turns=4, renamed=2)
    assert Exported.total([]) == Exported()
