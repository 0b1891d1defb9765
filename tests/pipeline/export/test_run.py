import errno
import json
import shutil

import pytest

from pipeline.export.run import FORMATS, PER_RECORDING, TOGETHER, export
from pipeline.storage.store import Store
from pipeline.versions.reader import Reference, open_version
from schemas.errors import SetupError
from tests.paths import FIXTURES


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_version_gives_the_same_bytes(spoken, tmp_path, format):
    first, second = (export(spoken, format, tmp_path / name) for name in "ab")
    assert first == second
    assert contents(tmp_path / "a") == contents(tmp_path / "b") != {}


def test_jsonl_has_all_columns_of_a_turn(spoken, turns, tmp_path):
    export(spoken, "jsonl", tmp_path)
    for recording, rows in turns.items():
        lines = (tmp_path / f"{recording.replace('/', '__')}.jsonl").read_text().splitlines()
        read = [json.loads(line) for line in lines]
        assert [line.pop("kept") for line in read] == [row["status"] != "set_aside" for row in rows]
        assert read == rows


@pytest.mark.parametrize("format", [form for form in (*PER_RECORDING, *TOGETHER) if form != "moshi"])
def test_only_kept_turns_on_request(spoken, turns, tmp_path, format):
    done = export(spoken, format, tmp_path, only_kept=True)
    assert done.recordings == 2
    assert done.turns + done.without_words == 7


def test_what_a_format_has_no_place_for_is_counted(spoken, tmp_path):
    done = export(spoken, "ctm", tmp_path)
    assert (done.turns, done.without_words, done.renamed) == (3, 5, 2)


@pytest.mark.parametrize("format", ["rttm", "stm", "jsonl"])
def test_channels_are_read_back(spoken, turns, tmp_path, read_back, format):
    export(spoken, format, tmp_path, uri="stem")
    read = read_back(tmp_path / f"one.{format}")
    assert [segment[:3] for segment in read] == [
        (r["start"], r["end"], r["speaker"]) for r in turns["one.wav"]
    ]


def test_the_command_reports_what_it_wrote(dataset, tmp_path, command):
    done = command("export", dataset, "--format", "ctm", "--to", tmp_path / "new" / "ctm")
    assert done.code == 0
    assert "3 turns of 3 recordings" in done.stdout
    assert "5 turns are left out, as the times of their words aren't known" in done.stderr
    done = command("export", dataset, "--format", "stm", "--to", tmp_path / "stm", "--kept", "--json")
    assert json.loads(done.stdout)["turns"] == 7


def test_a_folder_with_files_is_left_alone(dataset, tmp_path, command):
    (tmp_path / "mine.txt").write_text("mine")
    done = command("export", dataset, "--format", "lhotse", "--to", tmp_path)
    assert done.code == 1
    assert done.stderr == (
        f"aqaa-data: {tmp_path} has files already, such as mine.txt: name a new or an empty folder\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_written_is_one_clear_line(dataset, tmp_path, command):
    (tmp_path / "file").write_text("")
    done = command("export", dataset, "--format", "rttm", "--to", tmp_path / "file" / "below")
    assert done.code == 1
    assert done.stderr.startswith("aqaa-data: can't write")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_told_and_nothing_is_left_behind(spoken, tmp_path, monkeypatch):
    def full(*_):
        yield "a line"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(PER_RECORDING, "rttm", full)
    with pytest.raises(SetupError, match=rf"{tmp_path}: No space left on device: make room there"):
        export(spoken, "rttm", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_prefix_gets_the_same_files_as_a_folder(spoken, bucket, tmp_path):
    done = export(spoken, "nemo", f"{bucket}/handed/over")
    assert done == export(spoken, "nemo", tmp_path)
    store = Store(f"{bucket}/handed/over")
    assert {item.path: store.get(item.path) for item in store.list()} == {
        str(path): content for path, content in contents(tmp_path).items()
    }
    with pytest.raises(
        SetupError, match=r"over has files already, such as manifest\.json: name a new prefix"
    ):
        export(spoken, "rttm", f"{bucket}/handed/over")


def test_an_unknown_dataset_is_told(tmp_path, command):
    done = command("export", tmp_path / "nothing", "--format", "hf", "--to", tmp_path / "hf")
    assert done.code == 1
    assert "there is no dataset 'nothing'" in done.stderr
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_a_version_without_its_annotations_says_which_formats_it_has(tmp_path, format):
    dataset = shutil.copytree(FIXTURES / "dataset-0.1.0" / "before", tmp_path / "before")
    version = open_version(Reference.parse(str(dataset)))
    if format not in (*TOGETHER, "chat"):
        done = export(version, format, tmp_path / "out")
        assert done.turns + done.samples > 0
    else:
        with pytest.raises(SetupError, match="needs the dataset's annotations"):
            export(version, format, tmp_path / "out")
