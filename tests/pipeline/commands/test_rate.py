"""`aqaa-data rate` as a process: links with tokens once, resumed after Ctrl-C, errors that speak."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.rating.rows import answer, row, write_rows

COMMAND = Path(sys.executable).with_name("aqaa-data")


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "c.jsonl", [row("p1", answer("a"), answer("b")), row("broken")])


def test_links_are_printed_once_and_tokens_are_in_no_log(rows, tmp_path):
    arguments = [
        rows,
        "--out",
        tmp_path / "r.jsonl",
        "--rater",
        "anna",
        "--rater",
        "ben",
        "--port",
        "0",
        "--json",
    ]
    process = subprocess.Popen(
        [COMMAND, "rate", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    told = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    out, log = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert told["tasks"] == 2
    assert told["unused"] == [{"row": "c.jsonl:2", "code": "bad_candidates"}]
    links = [*told["raters"].values(), told["overview"]]
    assert list(told["raters"]) == ["anna", "ben"]
    assert all(link.startswith(told["url"] + "/#") for link in links)
    assert told["url"].startswith("http://127.0.0.1:")
    assert not any(link.partition("#")[2] in log for link in links)
    assert "not used: c.jsonl:2: `answers` is not a list of 1 or more (bad_candidates)" in log
    assert "anna: 0 of 2 rated" in log
    assert (tmp_path / "r.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["c.jsonl", "--out", "r.jsonl"], 2, "name raters with --rater"),
        (
            ["c.jsonl", "--out", "r.jsonl", "--rater", "a", "--raters", "f.txt"],
            2,
            "name raters with --rater, or",
        ),
        (["c.jsonl", "--rater", "anna"], 2, "--out"),
        (["bad.jsonl", "--out", "x/../bad.jsonl", "--rater", "anna"], 2, "is a file of rows to rate"),
        (["gone.jsonl", "--out", "r.jsonl", "--rater", "anna"], 1, "no such file"),
        (["c.jsonl", "--out", "no/r.jsonl", "--rater", "anna", "--port", "0"], 1, "can't write no/r.jsonl"),
        (["c.jsonl", "--out", "r.jsonl", "--raters", "gone.txt"], 1, "can't read gone.txt"),
        (
            ["bad.jsonl", "--out", "r.jsonl", "--rater", "anna"],
            1,
            "there is nothing to rate: bad.jsonl:1: `answers`",
        ),
    ],
)
def test_what_is_wrong_is_told(command, rows, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "bad.jsonl", [row("p1")])
    done = command("rate", *arguments)
    assert done.code == code
    assert says in done.stderr
