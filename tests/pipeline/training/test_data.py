"""Reading documents by range from object storage, and from copies of the shards on disk."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage.store import Store
from pipeline.training.data import DOCUMENTS, VersionData, _poor_turns, indexed, shards_of, write_table
from pipeline.training.shard_copies import copied
from pipeline.versions.reader import Version, version_at, version_ids
from schemas.errors import SetupError
from stages.train.documents import Document
from stages.train.metrics import read_metrics
from tests.paths import ROOT

DATASET = ROOT / "tests" / "fixtures" / "dataset-0.1.0" / "before"


def version_in(store: Store) -> Version:
    return version_at(store, version_ids(store)[0])


def data_of(version: Version, folder: Path) -> VersionData:
    write_table(folder / DOCUMENTS, indexed(version, folder / "index"))
    return VersionData(version.store.uri, version.id, folder / DOCUMENTS, {})


def all_of(data: VersionData) -> list[Document]:
    documents = data().documents
    return documents.read(range(len(documents)))


def contents(documents: list[Document]) -> list[tuple[str, str, list[int], list[int]]]:
    return [(each.key, each.family, each.tokens.tolist(), each.loss.tolist()) for each in documents]


def test_documents_are_the_same_from_a_disk_a_bucket_and_copies(bucket, tmp_path):
    local, remote = Store(str(DATASET)), Store(f"{bucket}/before")
    for item in local.list("versions"):
        remote.put_new(item.path, local.directory / item.path)
    on_disk = all_of(data_of(version_in(local), tmp_path))
    assert on_disk
    in_bucket = data_of(version_in(remote), tmp_path)
    assert contents(all_of(in_bucket)) == contents(on_disk)
    copies = replace(in_bucket, copies=tmp_path / "copies")
    assert contents(all_of(copies)) == contents(on_disk)
    remote.delete([item.path for item in remote.list("versions") if item.path.endswith(".tar")])
    assert contents(all_of(copies)) == contents(on_disk), "what is copied isn't copied again"


def test_a_bound_on_what_no_turn_was_measured_for_is_refused(tmp_path):
    """Built with `quality.quality: null`: every turn would pass."""
    shutil.copytree(DATASET, tmp_path / "unmeasured")
    version = version_in(Store(str(tmp_path / "unmeasured")))
    bound = {"dnsmos_overall_min": 2.0}
    assert isinstance(_poor_turns(version, bound), set)
    file = tmp_path / "unmeasured" / version.path("turns.parquet")
    rows = pq.read_table(file)
    field = rows.schema.field("assessment")
    unmeasured = [each and each | {"dnsmos_overall": None} for each in rows["assessment"].to_pylist()]
    column = pa.array(unmeasured, field.type)
    pq.write_table(rows.set_column(rows.schema.get_field_index(field.name), field, column), file)
    with pytest.raises(SetupError, match=r"`quality.dnsmos_overall_min`: no turn .* has a dnsmos_overall"):
        _poor_turns(version, bound)


def test_processes_of_a_node_share_one_copy(tmp_path):
    version = version_in(Store(str(DATASET)))
    shards = shards_of(version)
    with ThreadPoolExecutor(4) as processes:
        folders = list(processes.map(lambda n: copied(version, shards, tmp_path), range(4)))
    assert set(folders) == {tmp_path / version.id}
    for shard in shards:
        assert (folders[0] / shard).read_bytes() == (DATASET / version.path(shard)).read_bytes()
    assert not list(tmp_path.rglob(".*.partial"))


def test_a_disk_that_cannot_be_written_is_told_with_the_setting(tmp_path):
    (tmp_path / "full").write_text("not a directory")
    version = version_in(Store(str(DATASET)))
    with pytest.raises(
        SetupError, match=r"copy_shards_to: can't copy .*train-000000.tar .*: Not a directory"
    ):
        copied(version, shards_of(version), tmp_path / "full")


def test_a_training_on_copies_has_the_same_losses(untrained, command, tmp_path):
    only = dict.fromkeys(("pretrain", "sft2", "dpo", "merge"), "absent")
    recipe = untrained(sft1={"steps": 3}, **only)
    losses = []
    for setting in (f"copy_shards_to={tmp_path / 'copies'}", "copy_shards_to=null"):
        output = tmp_path / f"runs-{len(losses)}"
        done = command("train", recipe, "--set", setting, "--set", f"output={output}")
        assert done.code == 0, done.stderr
        losses.append([line["loss"] for line in read_metrics(output / "chain" / "sft1" / "metrics.jsonl")])
    assert len(losses[0]) == 3
    assert losses[0] == losses[1]
    names = {path.name.rpartition("-")[0] for path in (tmp_path / "copies").rglob("*.tar")}
    assert names == {"train"}, "shards of pairs aren't read"
