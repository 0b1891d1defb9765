"""Runs whose processes see no folder of each other, and share a bucket."""

import json
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from pipeline.storage.store import Store
from pipeline.training.stored_files import StoredFiles
from schemas.errors import SetupError
from stages.train.run import run
from stages.train.snapshot import RemoteSnapshots
from tests.object_storage import SECRET, Fault, access, first
from tests.stages.train.launched import Job, launch
from tests.stages.train.test_parallel import DPO, SFT, start  # noqa: F401

PROCESSES = 2


@dataclass(frozen=True)
class BucketJob(Job):
    """A run whose processes begin in empty folders, and leave nothing there for each other or later ones."""

    bucket: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def train(self) -> Path:
        os.environ.update(self.environment)
        torch.set_num_threads(1)
        remote = StoredFiles(Store(self.bucket), Path(tempfile.mkdtemp(dir=self.folder)))
        remote.pull_all()
        done = self._die if self.killed_at is not None else lambda metrics: None
        model = run(self.config, self._open, self.start, remote.folder, done, None, remote)
        remote.push()
        return model

    @property
    def losses(self) -> list[dict]:
        lines = map(json.loads, Store(self.bucket).get("metrics.jsonl").decode().splitlines())
        return [{key: value for key, value in line.items() if key != "tokens_per_second"} for line in lines]

    @property
    def checkpoints(self) -> list[str]:
        return sorted({item.path.split("/")[1] for item in Store(self.bucket).list("checkpoints")})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("remote")


@pytest.fixture
def job(sample_shards, ids, start, tmp_path, bucket, s3) -> BucketJob:  # noqa: F811
    return BucketJob(
        SFT, sample_shards, ids, start, tmp_path, bucket=f"{bucket}/run", environment=access(s3.endpoint)
    )


def changed(job, name, killed_at=None, **settings):
    """The same run at another place, with other settings."""
    folder = job.folder / name
    folder.mkdir()
    return replace(
        job,
        folder=folder,
        bucket=f"{job.bucket}-{name}",
        config=job.config.model_copy(update=settings),
        killed_at=killed_at,
    )


def test_a_killed_run_goes_on_from_the_bucket_with_the_same_losses_bit_for_bit(job):
    whole, killed = changed(job, "whole"), changed(job, "killed", killed_at=4)
    launch(PROCESSES, whole.train)
    launch(PROCESSES, killed.train, restarts=1)
    assert (killed.folder / "died").exists()
    assert killed.losses == whole.losses
    assert len(whole.losses) == 6
    assert whole.checkpoints == killed.checkpoints == ["00000006"]
    assert not list(whole.folder.rglob("checkpoints")), "they pass no disk"


def test_it_goes_on_with_another_number_of_processes(job):
    with pytest.raises(ChildFailedError):
        launch(PROCESSES, replace(job, killed_at=4).train)
    assert job.checkpoints == ["00000004"]
    job.train()
    alone = changed(job, "alone")
    alone.train()
    for here, there in zip(job.losses, alone.losses, strict=True):
        assert here["loss"] == pytest.approx(there["loss"], abs=1e-5)


def test_references_of_dpo_reach_all_processes(job, narrow_pair_shards):
    pairs = replace(job, shards=narrow_pair_shards, config=DPO)
    whole, killed = changed(pairs, "whole"), changed(pairs, "killed", killed_at=2, checkpoint_every=1)
    launch(PROCESSES, whole.train)
    launch(PROCESSES, killed.train, restarts=1)
    assert killed.losses == whole.losses
    assert len(whole.losses) == DPO.steps


def test_a_checkpoint_counts_once_its_metadata_is_there(job):
    job.train()
    store = Store(job.bucket)
    assert {item.path.split("/")[-1] for item in store.list("checkpoints")} == {".metadata", "__0_0.distcp"}
    before = job.losses
    store.delete(["checkpoints/00000006/.metadata"])
    job.train()
    assert job.losses == before, "it began again"
    assert job.checkpoints == ["00000006"]


def test_a_checkpoint_replaces_only_those_before_it(bucket, tmp_path):
    store = Store(f"{bucket}/run")
    for step in ("00000002", "00000004", "00000006"):
        for name in (".metadata", "__0_0.distcp"):
            store.put(f"checkpoints/{step}/{name}", b"x")
    store.put("checkpoints/00000008/__0_0.distcp", b"of another process, on its way")
    snapshots = RemoteSnapshots(StoredFiles(store, tmp_path))
    snapshots.publish(4)
    assert snapshots.steps() == [4, 6]
    left = {item.path.split("/")[1] for item in store.list("checkpoints")}
    assert left == {"00000004", "00000006", "00000008"}


def test_another_run_in_the_bucket_is_refused(job):
    job.train()
    with pytest.raises(SetupError) as refused:
        replace(job, config=job.config.model_copy(update={"learning_rate": 0.01})).train()
    told = f"{job.bucket} holds another run: its config.learning_rate is 0.003, not 0.01"
    assert told in str(refused.value)


@pytest.fixture
def behind(job, proxy) -> BucketJob:
    """The run behind the proxy."""
    return replace(job, environment=access(proxy.endpoint))


def test_a_bucket_that_refuses_a_checkpoint_is_told_in_every_process(behind, proxy):
    proxy.fault = first(99, Fault(status=403), "PUT", "__1_0.distcp")  # of the second process
    for told in launch(PROCESSES, refusal, behind):
        assert (
            "the checkpoint after 2 steps was not written, the one before it is intact: can't use s3" in told
        )
        assert f"{behind.bucket}/checkpoints/00000002/__1_0.distcp: access to the bucket" in told
        assert SECRET not in told
    proxy.fault = lambda method, path: None
    launch(PROCESSES, behind.train)
    assert len(behind.losses) == SFT.steps


def test_a_lost_connection_is_tried_again(behind, proxy):
    proxy.fault = first(2, Fault(reset="before"), "PUT", "checkpoints/")
    behind.train()
    assert len(behind.losses) == SFT.steps


def refusal(job: BucketJob) -> str:
    with pytest.raises(SetupError) as refused:
        job.train()
    return str(refused.value)
