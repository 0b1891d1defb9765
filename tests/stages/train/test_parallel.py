"""Runs on several processes compared with the same run on one."""

from dataclasses import replace

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from schemas.errors import SetupError
from stages.train.checkpoint import load, save
from stages.train.config import DPOConfig, LoRAConfig, TrainConfig, ValidationLossConfig
from stages.train.metrics import read_metrics
from stages.train.model import Step1
from stages.train.run import Start
from stages.train.shape import Shape
from tests.stages.train.launched import Job, launch

SFT = TrainConfig(
    sequence_length=64,
    global_batch_size=4,
    steps=6,
    learning_rate=3e-3,
    checkpoint_every=2,
    precision="float32",
)
DPO = SFT.model_copy(
    update={
        "objective": "dpo",
        "steps": 4,
        "sequence_length": 120,
        "preference": DPOConfig(beta=0.5, anchor=0.2),
    }
)


PROCESSES = 4
"""Two along sequences times two along layers, unless settings override it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parallel")


@pytest.fixture(scope="module")
def start(folder) -> Start:
    model = Step1(Shape(hidden=32, ffn=64, heads=4, groups=2, layers=2, vocabulary=70, context=128))
    model.initialise(0)
    save(model, folder / "start")
    return Start(checkpoint=folder / "start")


@pytest.fixture(scope="module")
def sft(sample_shards, ids, start, folder) -> Job:
    return Job(SFT, sample_shards, ids, start, folder / "sft")


@pytest.fixture(scope="module")
def dpo(narrow_pair_shards, ids, start, folder) -> Job:
    return Job(DPO, narrow_pair_shards, ids, start, folder / "dpo")


def changed(job, name, killed_at=None, **settings):
    """The same run in another folder, with other settings."""
    config = job.config.model_copy(update=settings)
    return replace(job, folder=job.folder.with_name(name), config=config, killed_at=killed_at)


@pytest.fixture(scope="module")
def alone(sft) -> Job:
    sft.train()
    return sft


@pytest.fixture(scope="module")
def shared(sft) -> Job:
    job = changed(sft, "shared", tensor_parallel=2, activation_checkpointing=True)
    launch(PROCESSES, job.train)
    return job


def losses(job):
    """A run's metrics without its speed."""
    lines = read_metrics(job.folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key != "tokens_per_second"} for line in lines]


def assert_close(job, other):
    for here, there in zip(losses(job), losses(other), strict=True):
        assert here["loss"] == pytest.approx(there["loss"], abs=1e-5)
        assert here["tokens"] == there["tokens"]
        assert here["gradient_norm"] == pytest.approx(there["gradient_norm"], rel=1e-3)
        for group in ("modalities", "families", "dpo"):
            assert here.get(group) == pytest.approx(there.get(group), abs=1e-4)
    mine, theirs = weights(job), weights(other)
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-4) for name in theirs)


def weights(job):
    return load(job.folder / "model").state_dict()


def test_two_by_two_processes_have_the_losses_of_one(alone, shared):
    assert_close(shared, alone)


@pytest.mark.slow
def test_the_same_holds_for_dpo(dpo):
    dpo.train()
    shared = changed(dpo, "dpo-shared", tensor_parallel=2)
    launch(PROCESSES, shared.train)
    assert_close(shared, dpo)
    assert losses(shared)[0]["dpo"]["margin"] == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
def test_the_same_holds_for_adapters_and_for_the_validation_loss(sft):
    settings = {"lora": LoRAConfig(rank=2), "validation": ValidationLossConfig(every=2, batches=None)}
    adapted = replace(changed(sft, "lora", **settings), held_out=sft.shards[:1])
    adapted.train()
    shared = changed(adapted, "lora-shared", tensor_parallel=2, killed_at=3)
    launch(PROCESSES, shared.train, restarts=1)
    assert (shared.folder / "died").exists()
    assert_close(shared, adapted)
    for here, there in zip(losses(shared), losses(adapted), strict=True):
        assert ("validation" in here) == ("validation" in there) == (here["step"] % 2 == 1)
        if "validation" in here:
            assert here["validation"]["loss"] == pytest.approx(there["validation"]["loss"], abs=1e-5)
            for group in ("modalities", "families"):
                assert here["validation"][group] == pytest.approx(there["validation"][group], abs=1e-4)


@pytest.mark.slow
def test_the_same_holds_for_rows_of_added_tokens(sft):
    lora = LoRAConfig(rank=2, added_tokens=True)
    alone = changed(sft, "rows", lora=lora, steps=3)
    alone.train()
    shared = changed(alone, "rows-shared")
    launch(2, shared.train)
    assert_close(shared, alone)


def test_a_killed_process_is_restarted_with_the_same_losses_bit_for_bit(shared):
    job = changed(shared, "killed", killed_at=4)
    launch(PROCESSES, job.train, restarts=1)
    assert (job.folder / "died").exists()
    assert losses(job) == losses(shared)
    mine, theirs = weights(job), weights(shared)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_a_run_resumes_with_the_same_sequences_on_fewer_processes(alone, shared):
    job = changed(shared, "fewer", killed_at=2)
    with pytest.raises(ChildFailedError):
        launch(PROCESSES, job.train)
    (job.folder / "died").unlink()
    on_two = changed(job, "fewer", killed_at=4, tensor_parallel=1, activation_checkpointing=False)
    with pytest.raises(ChildFailedError):
        launch(2, on_two.train)
    assert [path.name for path in (job.folder / "checkpoints").glob("0*")] == ["00000004"]
    changed(job, "fewer", tensor_parallel=1).train()
    assert_close(job, alone)


def test_a_number_of_processes_that_doesnt_fit_is_refused_with_what_would(sft):
    jobs = [changed(sft, f"refused-{n}", **settings) for n, settings in enumerate(UNFIT.values())]
    for answers in launch(2, refusals, jobs):
        for answer, message in zip(answers, UNFIT, strict=True):
            assert message in answer


UNFIT = {
    "2 processes can't share global_batch_size 6 evenly in micro-batches of 2: make it a multiple of 4": {
        "global_batch_size": 6,
        "micro_batch": 2,
    },
    "tensor_parallel 3 does not divide the 2 processes of the run": {"tensor_parallel": 3},
    "tensor_parallel 2 does not divide sequence_length 63": {"tensor_parallel": 2, "sequence_length": 63},
}
"""The error message for settings."""


def refusals(jobs):
    answers = []
    for job in jobs:
        with pytest.raises(SetupError) as refusal:
            job.train()
        answers.append(str(refusal.value))
    return answers
