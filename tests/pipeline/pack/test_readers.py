"""The shards of a version load in the readers that people have, whatever kinds of samples it holds."""

import tarfile
from collections import defaultdict
from itertools import groupby

import numpy as np
import pytest
import webdataset

from pipeline.storage.dataset_layout import shard_prefix
from pipeline.training.data import indexed
from pipeline.versions.samples import samples
from pipeline.versions.verify import faults

SUBSETS = {"default": "train", "preference": "train-preference", "text": "train-text"}
"""Subset in the card -> prefix of its shards."""


@pytest.fixture
def folder(spoken):
    return spoken.store.directory / spoken.path()


def of_subset(version, subset):
    """Key -> sample, of the shards of a subset."""
    prefix = SUBSETS[subset]
    in_index = {row["key"]: row["shard"] for row in _index(version)}
    return {s.key: s for s in samples(version) if shard_prefix(in_index[s.key]) == prefix}


def _index(version):
    with version.table("index") as table:
        return table.to_table().to_pylist()


def test_all_samples_of_a_prefix_have_the_same_members(spoken, folder):
    members = defaultdict(set)
    for shard in spoken.manifest.shards:
        with tarfile.open(folder / shard.path) as tar:
            for _, files in groupby(tar.getnames(), lambda name: name.partition(".")[0]):
                members[shard_prefix(shard.path)].add(tuple(name.partition(".")[2] for name in files))
    assert members == {
        "train": {("json", "tokens.npy", "loss.npy", "flac")},
        "train-preference": {("json", "prompt.npy", "chosen.npy", "rejected.npy")},
        "train-text": {("json", "tokens.npy", "loss.npy")},
    }
    assert list(faults(spoken)) == []


@pytest.mark.parametrize("subset", SUBSETS)
def test_webdataset_reads_a_subset_by_its_glob(spoken, folder, subset):
    shards = sorted(map(str, (folder / "shards").glob(f"{SUBSETS[subset]}-[0-9]*.tar")))
    expected = of_subset(spoken, subset)
    read = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert {row["__key__"] for row in read} == expected.keys()
    for row in read:
        sample = expected[row["__key__"]]
        assert row["json"] == sample.record
        assert all(np.array_equal(row[f"{name}.npy"], ids) for name, ids in sample.arrays.items())


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("subset", SUBSETS)
def test_hugging_face_datasets_opens_the_folder_of_a_version(spoken, folder, tmp_path, subset, streaming):
    datasets = pytest.importorskip("datasets", minversion="5")
    read = datasets.load_dataset(
        str(folder), subset, split="train", streaming=streaming, cache_dir=str(tmp_path)
    )
    if "flac" in read.column_names:
        read = read.cast_column("flac", datasets.Audio(decode=False))
    expected = of_subset(spoken, subset)
    rows = list(read)
    assert {row["__key__"] for row in rows} == expected.keys()
    for row in rows:
        sample = expected[row["__key__"]]
        assert row["json"] == sample.record
        assert all(np.array_equal(row[f"{name}.npy"], ids) for name, ids in sample.arrays.items())
        assert row.get("flac", {"bytes": None})["bytes"] == sample.audio


def test_a_training_finds_the_documents_of_all_prefixes(spoken, tmp_path):
    found = indexed(spoken, tmp_path)["key"].to_pylist()
    assert sorted(found) == sorted(row["key"] for row in _index(spoken))
