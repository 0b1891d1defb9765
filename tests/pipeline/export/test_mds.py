import json
import struct

import numpy as np
import pytest

from pipeline.export.column_shards import SHARD_BYTES
from pipeline.export.mds import describe_mds, mds_shards
from pipeline.export.run import export
from pipeline.versions.samples import samples


def read_shard(folder, info):
    """The samples of a shard, read as its description says."""
    data = (folder / info["raw_data"]["basename"]).read_bytes()
    assert len(data) == info["raw_data"]["bytes"] <= info["size_limit"] == SHARD_BYTES
    (count,) = struct.unpack_from("<I", data)
    assert count == info["samples"]
    offsets = struct.unpack_from(f"<{count + 1}I", data, 4)
    assert offsets[-1] == len(data)
    described = json.loads(data[4 + 4 * (count + 1) : offsets[0]])
    assert described == {key: info[key] for key in described}
    names = info["column_names"]
    for begin in offsets[:-1]:
        sizes = struct.unpack_from(f"<{len(names)}I", data, begin)
        starts = begin + 4 * len(names) + np.cumsum([0, *sizes])
        yield {name: data[a:b] for name, a, b in zip(names, starts, starts[1:], strict=False)}


def read_all(folder):
    for index in sorted(folder.glob("*/index.json")):
        for info in json.loads(index.read_text())["shards"]:
            yield from read_shard(index.parent, info)


def test_every_sample_is_there_with_its_members(spoken, tmp_path):
    assert export(spoken, "mds", tmp_path).samples == 32
    stored = {sample.key: sample for sample in samples(spoken)}
    found = {row["key"].decode(): row for row in read_all(tmp_path)}
    assert found.keys() == stored.keys()
    for key, sample in stored.items():
        row = found[key]
        assert json.loads(row["json"]) == sample.record
        assert row.get("flac") == sample.audio
        for name, array in sample.arrays.items():
            assert np.array_equal(np.frombuffer(row[name], array.dtype), array)


def test_a_full_shard_is_followed_by_another(tmp_path):
    folder = mds_shards(tmp_path / "train", ["key", "sound"], 0)
    sound = np.random.default_rng(0).bytes(SHARD_BYTES // 2 - 1000)
    for n in range(5):
        folder.add({"key": str(n).encode(), "sound": sound})
    folder.finish()
    describe_mds(None, tmp_path)
    shards = json.loads((tmp_path / "train" / "index.json").read_text())["shards"]
    assert [shard["samples"] for shard in shards] == [2, 2, 1]
    assert [row["key"] for row in read_all(tmp_path)] == [b"0", b"1", b"2", b"3", b"4"]


def test_mosaic_streaming_reads_them(spoken, tmp_path):
    streaming = pytest.importorskip("streaming")
    export(spoken, "mds", tmp_path)
    read = {
        row["key"]: np.frombuffer(row["tokens"], np.int32).tolist()
        for row in streaming.StreamingDataset(local=str(tmp_path / "train"), batch_size=1)
    }
    stored = {sample.key: sample.tokens.tolist() for sample in samples(spoken)}
    assert read == {key: stored[key] for key in read} != {}
