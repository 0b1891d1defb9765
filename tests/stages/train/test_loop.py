import json
import math
from dataclasses import replace
from functools import reduce

import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional as F

from schemas.errors import SetupError
from stages.train.checkpoint import load, read_vocabulary, save
from stages.train.config import DPOConfig, ModalityWeights
from stages.train.loop import TrainingData
from stages.train.model import Step1
from stages.train.packing import pack
from stages.train.run import Start, run
from tests.stages.train.narrow import DPO, SFT, losses, model
from tests.stages.train.old_records import use_old_names


def train(config, data, start, folder, on_progress=lambda metrics: None):
    """A run that starts from a model's weights."""
    checkpoint = folder.with_name(f"{folder.name}-start")
    save(start, checkpoint)
    return run(config, lambda: data, Start(checkpoint=checkpoint), folder, on_progress)


def weights_of(folder):
    return load(folder).state_dict()


def test_the_first_loss_equals_a_computation_by_hand(data, tmp_path):
    """Each sample separately, with whole logits, averaged over all targets of the step."""
    whole = SFT.model_copy(update={"micro_batch": 1, "steps": 1})
    start = model()
    each = []
    for entry in range(len(data.documents)):
        (document,) = data.documents.read([entry])
        with torch.no_grad():
            logits = start(torch.from_numpy(document.tokens.astype("int64"))[None])[0, :-1]
        targets = torch.from_numpy(document.tokens[1:].astype("int64"))
        each.append(F.cross_entropy(logits, targets, reduction="none")[document.loss[1:] == 1])
    sequences = pack(data.documents.lengths, whole.sequence_length, whole.seed).sequences
    one_epoch = whole.model_copy(update={"global_batch_size": sequences})
    train(one_epoch, data, model(), tmp_path / "run")
    assert losses(tmp_path / "run")[0]["loss"] == pytest.approx(torch.cat(each).mean().item(), abs=1e-5)


def test_the_size_of_micro_batches_changes_nothing(data, tmp_path):
    train(SFT, data, model(), tmp_path / "two")
    train(SFT.model_copy(update={"micro_batch": 4}), data, model(), tmp_path / "four")
    for two, four in zip(losses(tmp_path / "two"), losses(tmp_path / "four"), strict=True):
        assert two["loss"] == pytest.approx(four["loss"], abs=1e-5)
        assert two["tokens"] == four["tokens"]


def test_losses_per_modality_and_family_make_up_the_loss(data, tmp_path):
    train(SFT.model_copy(update={"steps": 1}), data, model(), tmp_path / "run")
    (line,) = losses(tmp_path / "run")
    assert line["modalities"].keys() == {"text", "linguistic", "semantic"}
    assert line["families"].keys() == {"asr", "tts"}
    for group in ("modalities", "families"):
        assert min(line[group].values()) <= line["loss"] <= max(line[group].values())


def test_a_weight_of_0_excludes_a_modality(data, tmp_path):
    text = SFT.model_copy(update={"steps": 1, "modality_weights": ModalityWeights(linguistic=0, semantic=0)})
    train(text, data, model(), tmp_path / "run")
    (line,) = losses(tmp_path / "run")
    assert line["loss"] == pytest.approx(line["modalities"]["text"], abs=1e-6)


def test_only_requested_families_are_trained_on(data, tmp_path):
    train(SFT.model_copy(update={"families": ("asr",)}), data, model(), tmp_path / "run")
    assert {family for line in losses(tmp_path / "run") for family in line["families"]} == {"asr"}


def stop_after(step):
    def on_progress(metrics):
        if metrics["step"] == step:
            raise KeyboardInterrupt

    return on_progress


@pytest.mark.parametrize("step", [0, 1, 2, 4])
def test_a_stopped_run_resumes_with_the_same_losses_bit_for_bit(data, tmp_path, step):
    train(SFT, data, model(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(SFT, data, model(), tmp_path / "stopped", on_progress=stop_after(step))
    went_on = []
    train(
        SFT, data, model(), tmp_path / "stopped", on_progress=lambda metrics: went_on.append(metrics["step"])
    )
    assert went_on[0] == (step + 1) // 2 * 2
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    whole, stopped = (weights_of(tmp_path / name / "model") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_heard_noise_is_the_same_after_a_stop(data, tmp_path):
    noisy = SFT.model_copy(update={"heard_noise": 0.3})
    train(noisy, data, model(), tmp_path / "whole")
    train(SFT, data, model(), tmp_path / "clean")
    with pytest.raises(KeyboardInterrupt):
        train(noisy, data, model(), tmp_path / "stopped", on_progress=stop_after(2))
    train(noisy, data, model(), tmp_path / "stopped")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert losses(tmp_path / "whole") != losses(tmp_path / "clean")


def test_a_checkpoint_of_a_larger_model_is_refused(data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(SFT, data, model(), tmp_path / "run", on_progress=stop_after(2))
    smaller = Step1(replace(model().shape, layers=1))
    smaller.initialise(0)
    with pytest.raises(SetupError, match=r"is of a larger model, which has model\.layers\.1\."):
        train(SFT, data, smaller, tmp_path / "run")


def test_a_run_recorded_under_old_names_of_settings_is_resumed(data, tmp_path):
    train(SFT, data, model(), tmp_path / "whole")

    def stop(metrics):
        if metrics["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SFT, data, model(), tmp_path / "stopped", stop)
    use_old_names(tmp_path / "stopped")
    with pytest.raises(SetupError, match=r"its config\.max_grad_norm is 1\.0, not 2"):
        train(SFT.model_copy(update={"max_grad_norm": 2}), data, model(), tmp_path / "stopped")
    finished = train(SFT, data, model(), tmp_path / "stopped")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert train(SFT, data, model(), tmp_path / "stopped") == finished


def test_a_finished_run_is_left_unchanged(data, tmp_path):
    train(SFT, data, model(), tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns
    train(SFT, data, model(), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns == before


def test_a_folder_of_another_run_is_refused(data, tmp_path):
    train(SFT, data, model(), tmp_path / "run")
    with pytest.raises(SetupError, match=r"its config\.learning_rate is 0\.003, not 0\.1"):
        train(SFT.model_copy(update={"learning_rate": 0.1}), data, model(), tmp_path / "run")
    other = TrainingData(data.documents, data.vocabulary, {"version": "2"})
    with pytest.raises(SetupError, match="its version is 1, not 2"):
        train(SFT, other, model(), tmp_path / "run")


def test_a_run_records_its_settings_and_data(data, tmp_path):
    train(SFT, data, model(), tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["version"] == "1"
    assert record["config"]["learning_rate"] == 3e-3
    assert read_vocabulary(tmp_path / "run" / "model") == data.vocabulary


def test_a_model_of_fewer_ids_is_refused(data, tmp_path):
    with pytest.raises(SetupError, match="has 70 ids and the model only 60"):
        train(SFT, data, model(vocabulary=60), tmp_path / "run")


def test_data_without_matching_documents_is_refused(data, tmp_path):
    with pytest.raises(SetupError, match="nothing to learn from"):
        train(SFT.model_copy(update={"families": ("aqtaa",)}), data, model(), tmp_path / "a")
    with pytest.raises(SetupError, match="fits into 4 tokens"):
        train(SFT.model_copy(update={"sequence_length": 4}), data, model(), tmp_path / "b")
    with pytest.raises(SetupError, match="nothing to learn from"):
        train(DPO, data, model(), tmp_path / "c")


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(data, tmp_path):
    wild = SFT.model_copy(update={"learning_rate": 1e30, "warmup": 0.5, "checkpoint_every": 1})
    with pytest.raises(
        SetupError, match=r"step 1: the loss is .* norm nan\. .*Samples of the step: sample-\d\d, sample"
    ):
        train(wild, data, model(), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["00000001"]
    assert len(losses(tmp_path / "run")) == 1


def test_dpo_starts_with_margins_of_0_and_raises_them(paired, tmp_path):
    start = model(vocabulary=paired.vocabulary["size"])
    train(DPO, paired, start, tmp_path / "run")
    lines = losses(tmp_path / "run")
    assert lines[0]["dpo"]["margin"] == pytest.approx(0, abs=1e-4)
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert lines[-1]["dpo"]["margin"] > 0.1
    assert lines[-1]["dpo"]["accuracy"] == 1
    assert lines[-1]["loss"] < lines[0]["loss"]


def reference_keys(folder):
    (file,) = folder.glob("reference-*-float32.parquet")
    return set(pq.read_table(file)["key"].to_pylist())


def test_pairs_of_equal_texts_are_left_out_where_audio_is_masked(paired, tmp_path):
    vocabulary = paired.vocabulary["size"]
    once = DPO.model_copy(update={"steps": None, "epochs": 1, "global_batch_size": 1, "micro_batch": 1})
    train(once, paired, model(vocabulary), tmp_path / "masked")
    every = once.model_copy(update={"preference": DPOConfig(mask_audio=False)})
    train(every, paired, model(vocabulary), tmp_path / "every")
    masked, unmasked = (reference_keys(tmp_path / name) for name in ("masked", "every"))
    assert unmasked - masked == {"pair-00"}
    left_out = [json.loads((tmp_path / name / "left_out.json").read_text()) for name in ("masked", "every")]
    assert [named["equal_texts"] for named in left_out] == [["pair-00"], []]


def test_the_reference_is_computed_for_the_pairs_of_the_steps(paired, tmp_path):
    once = DPO.model_copy(update={"steps": None, "epochs": 1, "global_batch_size": 1, "micro_batch": 1})
    for name, config in (("once", once), ("short", once.model_copy(update={"steps": 1}))):
        train(config, paired, model(paired.vocabulary["size"]), tmp_path / name)
    once_keys, short_keys = (reference_keys(tmp_path / name) for name in ("once", "short"))
    assert short_keys
    assert short_keys < once_keys


def test_documents_longer_than_a_sequence_are_named(data, tmp_path):
    train(SFT.model_copy(update={"sequence_length": 20}), data, model(), tmp_path / "run")
    lengths = dict(zip(data.documents.keys(range(30)), data.documents.lengths, strict=True))
    left_out = json.loads((tmp_path / "run" / "left_out.json").read_text())
    assert sorted(left_out["too_long"]) == sorted(key for key, length in lengths.items() if length > 20)
    assert left_out["too_long"]


@pytest.mark.parametrize("step", [0, 2])
def test_stopped_dpo_resumes_with_the_same_reference(paired, tmp_path, step):
    vocabulary = paired.vocabulary["size"]
    short = DPO.model_copy(update={"steps": 4, "global_batch_size": 2})
    train(short, paired, model(vocabulary), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(short, paired, model(vocabulary), tmp_path / "stopped", on_progress=stop_after(step))
    train(short, paired, model(vocabulary), tmp_path / "stopped")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def test_with_bfloat16_weights_are_still_float32(data, tmp_path):
    """Updates too small for bfloat16 are not lost."""
    small = {"precision": "bfloat16", "learning_rate": 1e-6, "final_learning_rate": 1e-6, "weight_decay": 0}
    train(SFT.model_copy(update={**small, "steps": 1}), data, model(), tmp_path / "run")
    before, after = model().state_dict(), weights_of(tmp_path / "run" / "model")
    moved = (after["lm_head.weight"] - before["lm_head.weight"]).abs()
    assert 0 < moved.max() <= 1.1e-6
    assert losses(tmp_path / "run")[0]["loss"] == pytest.approx(math.log(70), rel=1e-2)


def test_activation_checkpointing_changes_nothing(data, tmp_path):
    train(SFT, data, model(), tmp_path / "kept")
    train(SFT.model_copy(update={"activation_checkpointing": True}), data, model(), tmp_path / "again")
    assert losses(tmp_path / "again") == losses(tmp_path / "kept")


@pytest.mark.slow
def test_compiled_layers_have_the_same_losses(data, tmp_path):
    train(SFT, data, model(), tmp_path / "plain")
    train(
        SFT.model_copy(update={"compile": True, "activation_checkpointing": True}),
        data,
        model(),
        tmp_path / "compiled",
    )
    plain, compiled = losses(tmp_path / "plain"), losses(tmp_path / "compiled")
    assert [line["loss"] for line in compiled] == pytest.approx([line["loss"] for line in plain], abs=1e-5)


def test_embeddings_and_head_can_have_a_higher_learning_rate(data, tmp_path):
    fast = {"steps": 1, "embedding_lr_multiplier": 5, "weight_decay": 0}
    train(SFT.model_copy(update=fast), data, model(), tmp_path / "run")
    before, after = model().state_dict(), weights_of(tmp_path / "run" / "model")
    moved = {name: (after[name] - before[name]).abs().max().item() for name in before}
    # A first step of Adam is as long as the rate.
    assert moved.pop("lm_head.weight") == pytest.approx(5 * 3e-3, rel=1e-3)
    assert moved.pop("model.embed_tokens.weight") == pytest.approx(5 * 3e-3, rel=1e-3)
    assert list(moved.values()) == pytest.approx([3e-3] * len(moved), rel=1e-3)


def test_metrics_are_written_to_tensorboard_too(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(KeyboardInterrupt):
        train(SFT, data, model(), tmp_path / "run", on_progress=stop_after(4))
    train(SFT, data, model(), tmp_path / "run")
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    lines = losses(tmp_path / "run")
    for name, path in (("loss", ["loss"]), ("modalities/text", ["modalities", "text"])):
        shown = [(event.step, event.value) for event in board.Scalars(name)]
        written = [reduce(lambda line, key: line[key], path, line) for line in lines]
        assert shown == [(step, pytest.approx(value, rel=1e-6)) for step, value in enumerate(written)]
