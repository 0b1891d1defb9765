import struct
import tarfile

import numpy as np
import pytest

from pipeline.export.run import export
from pipeline.storage.dataset_layout import shard_subset
from pipeline.versions.samples import samples

SUBSETS = ("default", "preference", "text")


@pytest.fixture
def folder(spoken, tmp_path):
    assert export(spoken, "energon", tmp_path).samples == 32
    return tmp_path


def raw_samples(energon, folder):
    """The samples of a dataset as they are, once each."""

    @energon.stateless
    def keep(sample):
        return sample

    class Raw(energon.DefaultTaskEncoder):
        cookers = (energon.Cooker(keep),)

        def batch(self, samples):
            return samples[0]

    workers = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    dataset = energon.get_val_dataset(
        str(folder), split_part="train", worker_config=workers, batch_size=1, task_encoder=Raw()
    )
    return list(energon.get_loader(dataset))


@pytest.mark.parametrize("subset", SUBSETS)
def test_energon_reads_every_sample(spoken, folder, subset):
    energon = pytest.importorskip("megatron.energon")
    with spoken.table("index") as table:
        shards = {row["key"]: row["shard"] for row in table.to_table().to_pylist()}
    expected = {s.key: s for s in samples(spoken) if shard_subset(shards[s.key]) == subset}
    read = {sample["__key__"].rpartition("/")[2]: sample for sample in raw_samples(energon, folder / subset)}
    assert read.keys() == expected.keys()
    for key, sample in read.items():
        assert sample["json"] == expected[key].record
        for name, ids in expected[key].arrays.items():
            assert np.array_equal(sample[f"{name}.npy"], ids)


def test_the_index_of_a_shard_has_the_first_byte_of_each_sample(folder):
    shard = folder / "default" / "train-000000.tar"
    content = (folder / "default" / "train-000000.tar.idx").read_bytes()
    offsets = struct.unpack(f"={len(content) // 8}Q", content)
    with tarfile.open(shard) as tar:
        first = [member.offset for member in tar if member.name.endswith(".json")]
    assert list(offsets[:-1]) == first
    assert shard.read_bytes()[offsets[-1] :].strip(b"\0") == b""
