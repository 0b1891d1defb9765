"""A file of what people decide, such as ratings: whole lines on the disk, whatever dies when."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.storage.saved_rows import SavedRows
from schemas.errors import SetupError

ROW = {"prompt": "p1", "answer": "a", "rater": "anna", "score": 4}


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_rating_is_synced_before_append_returns(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    ratings = SavedRows(tmp_path / "r.jsonl", "rate", "rating")
    before = len(synced)
    ratings.append(ROW)
    ratings.append(ROW | {"reason": "clear\nand 好"})
    size = (tmp_path / "r.jsonl").stat().st_size
    assert synced[before:] == [len(json.dumps(ROW)) + 1, size]
    assert lines(tmp_path / "r.jsonl") == [ROW, ROW | {"reason": "clear\nand 好"}]


@pytest.mark.parametrize(
    ("end", "kept", "lost"),
    [
        ("", 1, None),
        ('{"prompt": "p1", "ans', 1, '{"prompt": "p1", "ans'),
        (json.dumps(ROW), 2, None),  # as editors may leave it
    ],
)
def test_a_line_written_in_part_is_removed_and_the_rest_stays(tmp_path, end, kept, lost):
    file = tmp_path / "r.jsonl"
    file.write_text(json.dumps(ROW) + "\n" + end)
    ratings = SavedRows(file, "rate", "rating")
    assert ratings.lost == lost
    ratings.append(ROW | {"score": 1})
    assert lines(file) == [ROW] * kept + [ROW | {"score": 1}]


def test_a_file_of_something_else_is_refused_and_stays(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("milk\nbread")
    for _ in range(2):
        with pytest.raises(SetupError, match=r"the last line of .*notes\.txt is no rating"):
            SavedRows(file, "rate", "rating")
    assert file.read_text() == "milk\nbread"


def test_a_rating_that_cannot_be_written_leaves_no_part_of_it(tmp_path, monkeypatch):
    ratings = SavedRows(tmp_path / "r.jsonl", "rate", "rating")
    ratings.append(ROW)
    write = os.write

    def full(handle, data):
        if len(data) > 10:
            return write(handle, data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda handle, data: full(handle, data[:20]))
        with pytest.raises(OSError, match="No space"):
            ratings.append(ROW)
    ratings.append(ROW | {"score": 2})
    assert lines(tmp_path / "r.jsonl") == [ROW, ROW | {"score": 2}]


def test_a_file_that_was_moved_away_is_not_written(tmp_path):
    file = tmp_path / "r.jsonl"
    ratings = SavedRows(file, "rate", "rating")
    ratings.append(ROW)
    file.rename(tmp_path / "old.jsonl")
    with pytest.raises(OSError, match="moved or replaced"):
        ratings.append(ROW)
    file.write_text("")
    with pytest.raises(OSError, match="moved or replaced"):
        ratings.append(ROW)


def test_one_process_writes_a_file(tmp_path):
    first = SavedRows(tmp_path / "r.jsonl", "rate", "rating")
    with pytest.raises(SetupError, match="another `aqaa-data rate` writes"):
        SavedRows(tmp_path / "r.jsonl", "rate", "rating")
    first.close()
    SavedRows(tmp_path / "r.jsonl", "rate", "rating").close()


def test_a_folder_that_does_not_exist_is_told(tmp_path):
    with pytest.raises(SetupError, match=r"can't write .*r\.jsonl: No such file"):
        SavedRows(tmp_path / "gone" / "r.jsonl", "rate", "rating")


WRITER = """
import sys
from pathlib import Path
from pipeline.storage.saved_rows import SavedRows

ratings = SavedRows(Path(sys.argv[1]), "rate", "rating")
for number in range(10**9):
    ratings.append({"number": number, "reason": "x" * 5000})
    print(number, flush=True)
"""


def test_a_killed_process_loses_no_rating_that_it_has_confirmed(tmp_path):
    file = tmp_path / "r.jsonl"
    process = subprocess.Popen([sys.executable, "-c", WRITER, file], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    confirmed = [0, *map(int, process.stdout.read().split())]
    process.wait()
    SavedRows(file, "rate", "rating").close()
    assert [row["number"] for row in lines(file)][: len(confirmed)] == confirmed
