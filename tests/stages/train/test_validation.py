"""A model is measured while it trains, on one process as on several."""

from dataclasses import replace

import pytest
import torch

from schemas.errors import SetupError
from stages.train.checkpoint import load
from stages.train.metrics import read_metrics
from stages.train.run import Start
from stages.train.validation import Validation
from tests.stages.train.launched import Job, launch
from tests.stages.train.narrow import SFT

CONFIG = SFT.model_copy(update={"steps": 5})


def open_measure():
    """Measures the logits of some ids, as the model has them."""
    return measured


def measured(model, step):
    assert not model.training
    with torch.no_grad():
        logits = model(torch.arange(3, 20)[None])[0, -1, :70]
    return {"step": step, "logits": {"first": logits[0].item(), "mean": logits.abs().mean().item()}}


def open_broken():
    raise SetupError("nothing to answer with")


@pytest.fixture
def job(sample_shards, ids, tmp_path):
    start = Start(preset="tiny", seed=1)
    return Job(CONFIG, sample_shards, ids, start, tmp_path / "run", validation=Validation(2, open_measure))


def answers_of(job):
    lines = read_metrics(job.folder / "metrics.jsonl")
    return {line["step"]: line["answers"] for line in lines if "answers" in line}


def test_it_is_measured_every_few_steps_and_after_the_last(job):
    job.train()
    found = answers_of(job)
    assert {step: measures["step"] for step, measures in found.items()} == {1: 2, 3: 4, 4: 5}
    assert found[1]["logits"] != found[3]["logits"]


def test_what_is_measured_is_the_model_of_that_step(job):
    model = load(job.train())
    expected = measured(model.eval(), 5)["logits"]
    assert answers_of(job)[4]["logits"] == pytest.approx(expected, abs=1e-6)


def test_processes_that_share_a_model_measure_the_whole(job, tmp_path):
    job.train()
    split = CONFIG.model_copy(update={"tensor_parallel": 2, "activation_checkpointing": True})
    shared = replace(job, folder=tmp_path / "shared", config=split)
    launch(2, shared.train)
    assert answers_of(shared).keys() == answers_of(job).keys()
    for step, measures in answers_of(shared).items():
        assert measures["logits"] == pytest.approx(answers_of(job)[step]["logits"], abs=1e-4)


def test_what_it_lacks_ends_the_run_with_the_reason(job):
    with pytest.raises(SetupError, match="nothing to answer with"):
        replace(job, validation=Validation(2, open_broken)).train()
