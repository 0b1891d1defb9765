import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.row_files import read_rows
from schemas.errors import DataError, SetupError


def test_rows_of_both_kinds_of_file_tell_where_they_stand(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n\n{"n": 2}\n')
    pq.write_table(pa.table({"n": [3, 4]}), tmp_path / "b.parquet")
    (tmp_path / "README.md").write_text("not rows")
    found = [
        ("a.jsonl:1", {"n": 1}),
        ("a.jsonl:3", {"n": 2}),
        ("b.parquet:1", {"n": 3}),
        ("b.parquet:2", {"n": 4}),
    ]
    assert list(read_rows([str(tmp_path)])) == found
    assert list(read_rows([str(tmp_path / "a.jsonl"), str(tmp_path / "b.parquet")])) == found


def test_a_line_that_is_no_json_is_told_and_the_rest_is_read(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"n": 1\n\xff\n{"n": 2}\n')
    first, second, third = read_rows([str(tmp_path / "a.jsonl")])
    assert isinstance(first.value, DataError)
    assert (first.where, first.value.code) == ("a.jsonl:1", "bad_json")
    assert isinstance(second.value, DataError)
    assert third == ("a.jsonl:3", {"n": 2})


def test_files_that_are_not_there_or_no_parquet_stop(tmp_path):
    (tmp_path / "no.parquet").write_text("words")
    for uri, says in [
        ("gone.jsonl", "there is no file"),
        ("no.parquet", "no readable Parquet"),
        ("", "name a"),
    ]:
        if not uri:
            (tmp_path / "no.parquet").unlink()
        with pytest.raises(SetupError, match=says):
            list(read_rows([str(tmp_path / uri)]))
