import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.row_files import read_rows
from schemas.errors import DataError, SetupError


def test_rows_of_both_kinds_of_files_have_their_file_and_line(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n\n{"n": 2}\n')
    pq.write_table(pa.table({"n": [3, 4]}), tmp_path / "b.parquet")
    (tmp_path / "README.md").write_text("not rows")
    (tmp_path / "._a.jsonl").write_bytes(b"\x00")
    found = [
        ("a.jsonl:1", {"n": 1}),
        ("a.jsonl:3", {"n": 2}),
        ("b.parquet:1", {"n": 3}),
        ("b.parquet:2", {"n": 4}),
    ]
    assert list(read_rows([str(tmp_path)])) == found
    assert list(read_rows([str(tmp_path / "a.jsonl"), str(tmp_path / "b.parquet")])) == found


def test_an_invalid_line_is_reported_and_the_others_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"n": 1\n\xff\n{"n": 2}\n')
    first, second, third = read_rows([str(tmp_path / "a.jsonl")])
    assert isinstance(first.value, DataError)
    assert (first.where, first.value.code) == ("a.jsonl:1", "bad_json")
    assert isinstance(second.value, DataError)
    assert third == ("a.jsonl:3", {"n": 2})


def test_missing_files_and_invalid_parquet_are_errors(tmp_path):
    (tmp_path / "no.parquet").write_text("words")
    for uri, message in [
        ("gone.jsonl", "no such file"),
        ("no.parquet", "not a valid Parquet"),
        ("", "name a"),
    ]:
        if not uri:
            (tmp_path / "no.parquet").unlink()
        with pytest.raises(SetupError, match=message):
            list(read_rows([str(tmp_path / uri)]))


def test_a_file_that_cannot_be_opened_is_a_row_that_cannot_be_used(tmp_path):
    (tmp_path / "a#1.jsonl").write_text('{"text": "one\u2028line"}\n')
    (tmp_path / "gone.jsonl").symlink_to("missing")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe.jsonl")
    rows = {row.where: row.value for row in read_rows([str(tmp_path)])}
    assert rows["a#1.jsonl:1"] == {"text": "one\u2028line"}
    codes = {where: value.code for where, value in rows.items() if isinstance(value, DataError)}
    assert codes == {"gone.jsonl:1": "dangling_link", "pipe.jsonl:1": "not_a_file"}
