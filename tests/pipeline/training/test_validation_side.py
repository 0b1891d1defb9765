"""`validation` in a training recipe: the loss on the side of the version that nothing is trained on."""

import json

import pytest

from stages.train.metrics import read_metrics
from tests.pipeline.training.chains import dataset, write_recipe


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """A version of which about half of the conversations are for validation."""
    shard = {"megabytes": 0.05, "validation_share": 0.5}
    return dataset(tmp_path_factory.mktemp("divided"), shard=shard)


@pytest.fixture
def recipe(divided, tmp_path):
    only = dict.fromkeys(("pretrain", "sft2", "merge"), "absent")
    stages = {"sft1": {"steps": 3}, "dpo": {"steps": 2, "lora": {}}}
    return write_recipe(tmp_path, dataset=str(divided), **stages, **only)


def test_its_curve_is_in_the_metrics_in_tensorboard_and_on_the_page(recipe, command):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = command("train", recipe, "--set", "train.validation.every=2", "--json")
    assert done.code == 0, done.stderr
    folder = recipe.parent / "runs" / "chain"
    lines = read_metrics(folder / "sft1" / "metrics.jsonl")
    assert [line["step"] for line in lines if "validation" in line] == [1, 2]
    found = lines[2]["validation"]
    assert found["families"].keys() == {"aqta", "aqtaa"}
    assert found["modalities"].keys() == {"text", "linguistic", "semantic"}
    board = EventAccumulator(str(folder / "sft1" / "tensorboard")).Reload()
    shown = {event.step: event.value for event in board.Scalars("validation/modalities/text")}
    assert shown[2] == pytest.approx(found["modalities"]["text"], rel=1e-6)
    assert "Loss: training and validation" in (folder / "sft1" / "report.html").read_text()
    sft1, dpo = json.loads(done.stdout)["stages"]
    assert sft1["validation"] == found
    assert {"margin", "accuracy"} <= dpo["validation"]["dpo"].keys()
    assert "sft1 after 2 steps: validation loss " in done.stderr
    trained_on, held_out = (
        (folder / "sft1" / f"{name}.arrow").read_bytes() for name in ("documents", "validation")
    )
    assert trained_on != held_out


def test_a_version_without_a_validation_side_is_told_before_anything_is_trained(untrained, command, tmp_path):
    recipe = untrained(pretrain={"families": ["asr"], "steps": 1}, dpo={"validation": {}})
    done = command("train", recipe)
    assert done.code == 1
    assert "dpo: `validation` needs documents that nothing is trained on" in done.stderr
    assert "`shard.validation_share` above 0, or set `validation: null`" in done.stderr
    assert not (tmp_path / "runs" / "chain" / "pretrain" / "metrics.jsonl").exists()
