"""Results of a GPU compared with those of a CPU."""

import pytest
import torch
from torch.nn import functional as F

from stages.train.batch import batch_of
from stages.train.checkpoint import load, save
from stages.train.config import DPOConfig, TrainConfig
from stages.train.loop import TrainingData
from stages.train.loss import token_losses
from stages.train.metrics import read_metrics
from stages.train.model import Step1
from stages.train.packing import pack, sequences_of
from stages.train.run import Start, run
from stages.train.shape import Shape
from tests.stages.train.launched import Job

pytestmark = pytest.mark.gpu

SFT = TrainConfig(
    sequence_length=128, global_batch_size=4, micro_batch=2, steps=8, learning_rate=3e-3, checkpoint_every=4
)
DPO = SFT.model_copy(update={"objective": "dpo", "sequence_length": 256, "preference": DPOConfig(beta=0.5)})


@pytest.fixture
def start(tmp_path) -> Start:
    model = Step1(Shape(hidden=64, ffn=128, heads=4, groups=2, layers=2, vocabulary=128, context=256))
    model.initialise(0)
    save(model, tmp_path / "start")
    return Start(checkpoint=tmp_path / "start")


@pytest.fixture
def sft(sample_shards, ids, start, tmp_path) -> Job:
    return Job(SFT, sample_shards, ids, start, tmp_path / "sft")


def on_cpu(documents, start, config):
    """Loss and gradient norm of the first step, in float32."""
    packing = pack(documents.lengths, config.sequence_length, config.seed)
    numbers = sequences_of(0, config.global_batch_size, packing.sequences, config.seed)
    sequences = [documents.read(packing.documents(n)) for n in numbers]
    batch = batch_of(sequences, config.sequence_length, pad=0)
    model = load(start.checkpoint)
    loss = model.losses(batch.tokens_BL, batch.documents_BL, batch.at_N, batch.targets_N).mean()
    loss.backward()
    return loss.item(), torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("precision", "off"), [("float32", 1e-4), ("bfloat16", 2e-2)])
def test_a_step_has_the_same_loss_and_gradient_as_on_a_cpu(
    sample_shards, ids, start, opened, tmp_path, precision, off, fused
):
    documents = opened(sample_shards)
    config = SFT.model_copy(
        update={"precision": precision, "compile": fused, "activation_checkpointing": fused}
    )
    run(config, lambda: TrainingData(documents, ids, {}), start, tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    loss, norm = on_cpu(documents, start, config)
    assert lines[0]["loss"] == pytest.approx(loss, rel=off)
    assert lines[0]["gradient_norm"] == pytest.approx(norm, rel=10 * off)
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_preferences_start_with_margins_of_0_in_bfloat16(narrow_pair_shards, ids, start, opened, tmp_path):
    run(DPO, lambda: TrainingData(opened(narrow_pair_shards), ids, {}), start, tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert lines[0]["dpo"]["margin"] == pytest.approx(0, abs=1e-3)
    assert lines[-1]["dpo"]["margin"] > lines[0]["dpo"]["margin"]


def test_a_stopped_run_resumes_bit_for_bit(sft, sample_shards, ids, start, opened, tmp_path):
    def stop(metrics):
        if metrics["step"] == 5:
            raise KeyboardInterrupt

    data = TrainingData(opened(sample_shards), ids, {"version": "1"})
    with pytest.raises(KeyboardInterrupt):
        run(SFT, lambda: data, start, tmp_path / "stopped", stop)
    run(SFT, lambda: data, start, tmp_path / "stopped")
    sft.train()
    stopped, whole = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("stopped", "sft"))
    assert [line["loss"] for line in stopped] == [line["loss"] for line in whole]


def test_fused_losses_in_bfloat16_equal_those_of_whole_logits():
    generator = torch.Generator("cuda").manual_seed(0)
    x, head = (
        torch.randn(size, 512, generator=generator, device="cuda", dtype=torch.bfloat16).requires_grad_()
        for size in (3000, 74752)
    )
    targets = torch.randint(0, 74752, (3000,), generator=generator, device="cuda")
    result = token_losses(x, head, targets)
    expected = F.cross_entropy((x @ head.T).float(), targets, reduction="none")
    assert torch.allclose(result, expected, rtol=1e-3, atol=1e-3)
    mine = torch.autograd.grad(result.mean(), (x, head))
    theirs = torch.autograd.grad(expected.mean(), (x, head))
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).float().norm() < 0.02 * b.float().norm()
