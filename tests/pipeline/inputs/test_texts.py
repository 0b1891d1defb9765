"""Rows of texts: conversations and documents."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.recipe import Recipe
from pipeline.inputs.texts import TextRow, list_texts, read_texts
from schemas.errors import DataError

CHAT = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There."}]


@pytest.fixture
def read(tmp_path):
    """The rows of a file."""

    def of(name):
        (file,) = list_texts([str(tmp_path / name)])
        return [row for _, row in read_texts(file, Recipe(name="a"))]

    return of


def test_a_null_field_counts_as_absent(tmp_path, read):
    rows = [{"text": "A document.", "messages": None}, {"text": None, "messages": CHAT}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    for name in ("a.jsonl", "b.parquet"):
        document, chat = read(name)
        assert (document.family, document.text) == ("replay", "A document.")
        assert document.source.metadata == {}
        assert (chat.family, chat.text) == ("tqta", "Where?\nThere.")


@pytest.mark.parametrize("row", [{"text": None, "messages": None}, {"text": " "}, {}, []])
def test_a_row_without_text_is_set_aside(tmp_path, read, row):
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({"text": "next"}) + "\n")
    refused, following = read("a.jsonl")
    assert isinstance(refused, DataError)
    assert isinstance(following, TextRow)
