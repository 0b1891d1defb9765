"""Chunks of LitData, by their description and by the library."""

import json
import struct
from itertools import pairwise

import numpy as np
import pytest
from torch.utils._pytree import tree_unflatten, treespec_loads

from pipeline.export.litdata import describe_litdata, litdata_chunks
from pipeline.export.run import export
from pipeline.versions.samples import samples
from schemas.errors import SetupError

TYPES = {
    "str": bytes.decode,
    "bytes": bytes,
    "no_header_numpy:2": lambda data: np.frombuffer(data, np.int32),
    "no_header_numpy:4": lambda data: np.frombuffer(data, np.uint8),
}


def read_all(folder):
    """The samples of a folder, read as its index says."""
    index = json.loads((folder / "index.json").read_text())
    tree, types = treespec_loads(index["config"]["data_spec"]), index["config"]["data_format"]
    for chunk in index["chunks"]:
        data = (folder / chunk["filename"]).read_bytes()
        assert len(data) == chunk["chunk_bytes"] <= index["config"]["chunk_bytes"]
        (count,) = struct.unpack_from("<I", data)
        assert count == chunk["chunk_size"]
        offsets = struct.unpack_from(f"<{count + 1}I", data, 4)
        assert offsets[-1] == len(data)
        for begin in offsets[:-1]:
            sizes = struct.unpack_from(f"<{len(types)}I", data, begin)
            ends = begin + 4 * len(types) + np.cumsum([0, *sizes])
            values = [data[a:b] for a, b in pairwise(ends)]
            leaves = [TYPES[name](value) for name, value in zip(types, values, strict=True)]
            yield tree_unflatten(leaves, tree)


def assert_same(found, stored):
    assert json.loads(found["json"]) == stored.record
    assert found.get("flac") == stored.audio
    for name, array in stored.arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_every_sample_is_there_with_its_members(spoken, tmp_path):
    assert export(spoken, "litdata", tmp_path).samples == 32
    stored = {sample.key: sample for sample in samples(spoken)}
    found = {row["key"]: row for index in tmp_path.glob("*/index.json") for row in read_all(index.parent)}
    assert found.keys() == stored.keys()
    for key, sample in stored.items():
        assert_same(found[key], sample)


def test_shards_of_different_members_are_refused(spoken, tmp_path):
    (tmp_path / "train").mkdir()
    for number, column in enumerate(("json", "flac")):
        part = tmp_path / str(number)
        chunks = litdata_chunks(part, {"key": "str", column: "bytes"}, number)
        chunks.add({"key": b"a", column: b""})
        chunks.finish()
        with (tmp_path / "train" / "index.jsonl").open("a") as lines:
            lines.write((part / "index.jsonl").read_text())
    with pytest.raises(SetupError, match="samples of different members: build the version again"):
        describe_litdata(spoken, tmp_path)


def test_litdata_reads_them(spoken, tmp_path):
    litdata = pytest.importorskip("litdata")
    export(spoken, "litdata", tmp_path)
    stored = {sample.key: sample for sample in samples(spoken)}
    for index in sorted(tmp_path.glob("*/index.json")):
        read = litdata.StreamingDataset(str(index.parent), shuffle=False)
        assert len(read) > 0
        for row in read:
            assert_same(row, stored.pop(row["key"]))
    assert not stored
