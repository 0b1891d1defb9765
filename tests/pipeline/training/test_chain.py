"""`aqaa-data train`: the chain from a version to a merged model."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.config.recipe import digest
from pipeline.storage.copies import Copies
from pipeline.storage.store import Store
from pipeline.training.locks import alone_in
from pipeline.versions.gc import garbage, uses
from pipeline.versions.reader import Reference, open_version
from stages.train.metrics import read_metrics
from tests.benchmarks.audio_drift import at_margin, text_margin
from tests.object_storage import READER, READER_SECRET
from tests.pipeline.training.chains import RECIPE, dataset, write_recipe
from tests.stages.train.old_records import use_old_names

STAGES = ["pretrain", "sft1", "sft2", "dpo", "merge"]
MODALITIES = ("text", "linguistic", "semantic")


def tensors(model):
    return load_file(model / "model.safetensors")


class TestTheChain:
    def test_every_stage_ends_with_a_model_in_the_public_layout(self, trained):
        assert [stage["stage"] for stage in trained.output["stages"]] == STAGES
        for name in STAGES:
            config = json.loads((trained.stage(name) / "model" / "config.json").read_text())
            assert config["architectures"] == ["Step1ForCausalLM"]
            assert trained.result(name)["model"] == str(trained.stage(name) / "model")

    def test_memorising_halves_the_loss_in_every_modality(self, trained):
        result = trained.result("sft1")
        for modality in MODALITIES:
            assert result["after"][modality] < result["before"][modality] / 2, modality

    def test_dpo_raises_the_margins_of_text_from_0(self, trained):
        result = trained.result("dpo")
        assert result["before"]["margin"] == pytest.approx(0, abs=1e-4)
        assert result["after"]["margin"] > 0.2
        assert result["after"]["text_gain_chosen"] > result["after"]["text_gain_rejected"]

    def test_the_merge_is_the_weighted_mean_bit_for_bit(self, trained):
        sft1, sft2, dpo, merged = (
            tensors(trained.stage(n) / "model") for n in ("sft1", "sft2", "dpo", "merge")
        )
        for name, tensor in merged.items():
            mean = (sft1[name] * 5 + sft2[name] * 5 + dpo[name] * 1) / 11
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, mean), name
        assert any(not torch.equal(sft1[name], merged[name]) for name in merged)

    def test_each_stage_starts_where_the_chain_says(self, trained):
        parents = {name: json.loads((trained.stage(name) / "run.json").read_text()) for name in STAGES[:-1]}
        assert {name: run["parent"] for name, run in parents.items()} == {
            "pretrain": {"preset": "tiny", "seed": 0},
            "sft1": "pretrain",
            "sft2": "sft1",
            "dpo": "sft1",
        }
        first = read_metrics(trained.stage("sft2") / "metrics.jsonl")[0]["modalities"]
        last = trained.result("sft1")["after"]
        assert all(abs(first[modality] - last[modality]) < 1.5 for modality in MODALITIES)

    def test_the_better_turns_are_chosen_by_their_measures(self, trained):
        counts = json.loads((trained.stage("sft2") / "documents.json").read_text())["counts"]
        assert (counts["chosen"], counts["low_quality"]) == (4, 8)

    def test_a_mixture_leaves_out_what_is_over_its_share(self, trained):
        counts = json.loads((trained.stage("pretrain") / "documents.json").read_text())["counts"]
        assert counts["over_share"] > 0
        assert counts["chosen"] + counts["over_share"] == 32


class TestAgain:
    def test_a_second_run_skips_every_stage(self, trained, command):
        weights = trained.stage("merge") / "model" / "model.safetensors"
        before = weights.stat().st_mtime_ns
        output = json.loads(command("train", trained.recipe, "--json").stdout)
        assert [stage["skipped"] for stage in output["stages"]] == [True] * 5
        assert weights.stat().st_mtime_ns == before

    def test_stages_recorded_under_old_names_of_settings_are_done_and_merged(
        self, trained, command, tmp_path
    ):
        shutil.copytree(trained.folder / "runs", tmp_path / "runs")
        recipe = tmp_path / "chain.yaml"
        recipe.write_text(trained.recipe.read_text().replace("global_batch_size:", "batch:"))
        for name in STAGES[:-1]:
            folder = tmp_path / "runs" / "chain" / name
            use_old_names(folder)
            record = json.loads((folder / "run.json").read_text())
            if record["parent_run"]:
                parent = folder.with_name(record["parent"]) / "run.json"
                record["parent_run"] = digest(json.loads(parent.read_text()))
            (folder / "run.json").write_text(json.dumps(record))
        shutil.rmtree(tmp_path / "runs" / "chain" / "merge")
        done = command("train", recipe, "--json")
        assert done.code == 0, done.stderr
        results = json.loads(done.stdout)["stages"]
        assert [stage["skipped"] for stage in results] == [True, True, True, True, False]
        (warning,) = [line for line in done.stderr.splitlines() if "is now called" in line]
        assert re.search(r"chain.yaml:\d+: `train.batch` is now called `train.global_batch_size`", warning)
        merged = tmp_path / "runs" / "chain" / "merge" / "model" / "model.safetensors"
        assert merged.read_bytes() == (trained.stage("merge") / "model" / "model.safetensors").read_bytes()
        other = command("train", recipe, "--set", "sft1.max_grad_norm=2")
        assert "was trained with another max_grad_norm: 1.0, and now it is 2.0" in other.stderr

    def test_other_settings_of_a_finished_stage_are_refused(self, trained, command):
        done = command("train", trained.recipe, "--set", "sft1.learning_rate=1e-3")
        assert done.code == 1
        assert "was trained with another learning_rate: 0.01, and now it is 0.001" in done.stderr
        done = command("train", trained.recipe, "--set", "merge.weights={sft1: 1, dpo: 1}")
        assert "is a merge of other checkpoints (5 " in done.stderr

    def test_another_version_is_refused_by_its_id(self, trained, command, tmp_path):
        other = dataset(tmp_path, interleave={"ratio": [5, 15]})
        done = command("train", trained.recipe, "--dataset", other)
        assert done.code == 1
        assert "was trained with another version" in done.stderr


class TestOneStage:
    def test_it_runs_alone(self, untrained, command):
        recipe = untrained(pretrain="absent", sft1={"steps": 2})
        done = command("train", recipe, "--stage", "sft1", "--json")
        assert [stage["stage"] for stage in json.loads(done.stdout)["stages"]] == ["sft1"]
        runs = recipe.parent / "runs" / "chain"
        assert (runs / "sft1" / "model").exists()
        assert not (runs / "dpo").exists()
        assert "sft1 2/2 | loss" in done.stderr
        assert "tokens/s" in done.stderr

    def test_it_starts_from_a_checkpoint_outside_the_chain(self, trained, untrained, command):
        start = trained.stage("sft1") / "model"
        recipe = untrained(sft2={"steps": 1, "start": str(start)}, pretrain="absent")
        done = command("train", recipe, "--stage", "sft2", "--json")
        assert done.code == 0, done.stderr
        (result,) = json.loads(done.stdout)["stages"]
        assert result["before"]["text"] < 6  # it starts from what sft1 has learnt

    def test_a_stage_whose_start_is_not_trained_names_what_is_missing(self, untrained, command):
        done = command("train", untrained(), "--stage", "dpo")
        assert done.code == 1
        assert "dpo needs sft1, which is not trained yet: add --stage sft1" in done.stderr
        assert "merge needs sft1" in command("train", untrained(), "--stage", "merge").stderr

    def test_an_unknown_stage_is_refused(self, untrained, command):
        done = command("train", untrained(), "--stage", "sft3")
        assert "no stage sft3: it has pretrain, sft1, sft2, dpo, merge" in done.stderr


class TestForeignBackbone:
    def test_a_hugging_face_model_is_extended_with_audio_and_trained(self, untrained, given, command):
        known = str(given.parents[1] / "language-model")
        only = dict.fromkeys(("pretrain", "sft2", "dpo", "merge"), "absent")
        recipe = untrained(backbone={"checkpoint": known}, sft1={"steps": 2}, **only)
        done = command("train", recipe, "--json")
        assert done.code == 0, done.stderr
        (result,) = json.loads(done.stdout)["stages"]
        assert result["after"]["loss"] < result["before"]["loss"]
        config = json.loads((Path(result["model"]) / "config.json").read_text())
        assert (config["architectures"], config["vocab_size"]) == (["LlamaForCausalLM"], 5440)


STEPS = {"steps": 4, "checkpoint_every": 2}
ONLY_SFT1 = dict.fromkeys(("pretrain", "sft2", "dpo", "merge"), "absent")


def losses(run):
    """Metrics of the steps of a run in a bucket, without its speed."""
    lines = map(json.loads, Store(run).get("metrics.jsonl").decode().splitlines())
    return [{key: value for key, value in line.items() if key != "tokens_per_second"} for line in lines]


class TestObjectStorage:
    @pytest.fixture
    def stored(self, bucket, untrained, tmp_path):
        """Writes a recipe with its output in a bucket, and scratch that is empty at first."""
        return lambda **changes: untrained(
            output=f"{bucket}/runs", scratch=str(tmp_path / "scratch"), **changes
        )

    def test_a_version_is_read_from_it_and_finished_stages_are_uploaded(self, bucket, command, tmp_path):
        dataset(tmp_path, output=bucket)
        scratch = tmp_path / "scratch"
        recipe = write_recipe(
            tmp_path,
            dataset=f"{bucket}/given",
            output=f"{bucket}/runs",
            scratch=str(scratch),
            sft1={"steps": 1},
            **ONLY_SFT1,
        )
        done = command("train", recipe, "--json")
        assert done.code == 0, done.stderr
        (result,) = json.loads(done.stdout)["stages"]
        assert result["model"] == f"{bucket}/runs/chain/sft1/model"
        there = {item.path for item in Store(f"{bucket}/runs/chain/sft1").list()}
        assert {"run.json", "metrics.jsonl", "report.html", "documents.arrow"} <= there
        assert {"model/config.json", "model/model.safetensors", "model/tokenizer.json"} <= there
        assert any(path.startswith("tensorboard/") for path in there)
        shutil.rmtree(scratch)  # as on another machine
        (again,) = json.loads(command("train", recipe, "--json").stdout)["stages"]
        assert again["skipped"]
        other = command("train", recipe, "--set", "sft1.learning_rate=1e-3")
        assert f"{bucket}/runs/chain/sft1 was trained with another learning_rate" in other.stderr
        assert again["after"] == result["after"]

    def test_a_killed_stage_goes_on_on_an_empty_disk_bit_for_bit(self, bucket, stored, command, tmp_path):
        recipe = stored(sft1=STEPS, **ONLY_SFT1)
        assert command("train", recipe, "--set", "name=whole").code == 0
        checkpoints = Store(f"{bucket}/runs/chain/sft1/checkpoints")
        until_killed(
            ["train", recipe], lambda: any(item.path.endswith("/.metadata") for item in checkpoints.list())
        )
        shutil.rmtree(tmp_path / "scratch")
        done = command("train", recipe)
        assert done.code == 0, done.stderr
        assert "sft1 1/4" not in done.stderr, "it began after a checkpoint"
        runs = f"{bucket}/runs"
        assert losses(f"{runs}/chain/sft1") == losses(f"{runs}/whole/sft1")
        weights = [Store(f"{runs}/{name}/sft1/model").get("model.safetensors") for name in ("chain", "whole")]
        assert weights[0] == weights[1]
        assert not list((tmp_path / "scratch").glob(".chain-*")), "nothing but copies is left"

    def test_stages_and_merges_start_from_what_is_there(self, bucket, stored, command, tmp_path):
        short = {"steps": 1}
        recipe = stored(pretrain="absent", sft1=short, sft2=short, dpo=RECIPE["dpo"] | short)
        assert command("train", recipe, "--stage", "sft1").code == 0
        shutil.rmtree(tmp_path / "scratch")
        done = command("train", recipe, "--json")
        assert done.code == 0, done.stderr
        runs = f"{bucket}/runs/chain"
        assert [stage["skipped"] for stage in json.loads(done.stdout)["stages"]] == [
            True,
            False,
            False,
            False,
        ]
        record = json.loads(Store(f"{runs}/dpo").get("run.json"))
        assert record["start"] == {"checkpoint": f"{runs}/sft1/model"}
        record = json.loads(Store(f"{runs}/merge").get("run.json"))
        models = [f"{runs}/{name}/model" for name in ("sft1", "sft2", "dpo")]
        assert [each["directory"] for each in record["inputs"]] == models
        shutil.rmtree(tmp_path / "scratch")
        again = command("train", recipe, "--json")
        assert [stage["skipped"] for stage in json.loads(again.stdout)["stages"]] == [True] * 4
        weighted = [f"{model}={weight}" for model, weight in zip(models, (5, 5, 1), strict=True)]
        assert command("merge", *weighted, "--out", tmp_path / "merged").code == 0
        by_hand = json.loads((tmp_path / "merged" / "merge.json").read_text())
        assert [each["directory"] for each in by_hand["inputs"]] == models
        merged = (tmp_path / "merged" / "model.safetensors").read_bytes()
        assert Store(f"{runs}/merge/model").get("model.safetensors") == merged
        other = command("train", recipe, "--set", "merge.weights={sft1: 1, sft2: 1}")
        assert f"{runs}/merge/model is a merge of other checkpoints" in other.stderr
        copies = Path("/scratch") / Copies(tmp_path).path(runs).name  # what an earlier release recorded
        for each, name in zip(record["inputs"], ("sft1", "sft2", "dpo"), strict=True):
            each["directory"] = str(copies / name / "model")
        Store(f"{runs}/merge/model").put("merge.json", json.dumps(record).encode())
        assert command("train", recipe).code == 0
        for weights in ("{sft1: 5, sft2: 5, dpo: 1, pretrain: 1}", "{sft2: 5, sft1: 5, dpo: 1}"):
            other = command(
                "train", recipe, "--set", f"merge.weights={weights.replace('pretrain', models[0])}"
            )
            assert f"{runs}/merge/model is a merge of other checkpoints" in other.stderr
        answered = command("evaluate", "answers", "--model", f"{runs}/merge/model", "--out", tmp_path / "e")
        assert "is in a bucket, and an evaluation is noted in the card" in answered.stderr

    def test_an_extended_backbone_is_kept_there(self, bucket, stored, given, command, tmp_path):
        known = str(given.parents[1] / "language-model")
        recipe = stored(backbone={"checkpoint": known}, sft1={"steps": 1}, **ONLY_SFT1)
        assert command("train", recipe).code == 0
        there = Store(f"{bucket}/runs/chain")
        assert there.exists("backbone/config.json")
        assert json.loads(there.get("sft1/run.json"))["start"] == {"checkpoint": known}

    def test_a_bucket_that_cant_be_used_is_told_before_anything_is_trained(
        self, bucket, stored, command, monkeypatch
    ):
        recipe = stored(**ONLY_SFT1)
        missing = command("train", recipe, "--output", "s3://no-such-bucket/runs")
        assert missing.code == 1
        assert "can't use s3://no-such-bucket/runs/chain" in missing.stderr
        assert "there is no bucket no-such-bucket" in missing.stderr
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
        refused = command("train", recipe)
        assert refused.code == 1
        assert f"can't use {bucket}/runs/chain" in refused.stderr
        assert "access to the bucket" in refused.stderr
        assert READER_SECRET not in refused.stderr


def until_killed(arguments, seen):
    """Run the command until something is seen, and kill it then."""
    command = Path(sys.executable).with_name("aqaa-data")
    running = subprocess.Popen([command, *arguments], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300
    while not seen() and time.monotonic() < until and running.poll() is None:
        time.sleep(0.02)
    assert running.poll() is None, running.stderr.read()
    running.kill()
    running.wait()
    running.stderr.close()


class TestLineage:
    def test_a_run_names_its_version_and_the_version_its_runs(self, trained, command):
        version = open_version(Reference.parse(str(trained.dataset)))
        run = json.loads((trained.stage("sft1") / "run.json").read_text())
        assert (run["dataset"], run["version"], run["recipe"], run["stage"]) == (
            "given",
            version.id,
            "chain",
            "sft1",
        )
        assert run["code_version"]
        recorded = uses(version.store, version.id)
        assert {use["stage"] for use in recorded} == {"pretrain", "sft1", "sft2", "dpo"}
        assert str(trained.stage("dpo")) in command("versions", "show", trained.dataset).stdout
        shown = json.loads(command("versions", "show", trained.dataset, "--json").stdout)
        assert len(shown["trainings"]) == 4

    def test_a_version_that_was_trained_on_is_never_garbage(self, trained):
        kinds = {item.kind for item in garbage(Store(str(trained.dataset)), days=0)}
        assert "version" not in kinds


class TestTheMask:
    def test_it_keeps_preferences_from_moving_audio(self, trained, untrained, command):
        """At the same margin of text, audio of chosen and rejected answers drifts apart without it."""
        start = str(trained.stage("sft1") / "model")
        stage = {**RECIPE["dpo"], "start": start, "preference": {"beta": 0.5, "mask_audio": False}}
        recipe = untrained(dpo=stage, sft1="absent", sft2="absent", pretrain="absent", merge="absent")
        assert command("train", recipe).code == 0
        runs = [trained.stage("dpo"), recipe.parent / "runs" / "chain" / "dpo"]
        steps = [read_metrics(run / "metrics.jsonl") for run in runs]
        margin = 0.5 * min(max(map(text_margin, each)) for each in steps)
        masked, unmasked = (at_margin(run, margin) for run in runs)
        print(
            f"audio margin per token at a text margin of {margin:.2f}: {masked:.4f}, unmasked {unmasked:.4f}"
        )
        assert abs(masked) < abs(unmasked)


@pytest.mark.slow
class TestWorkers:
    def test_processes_of_torchrun_run_the_chain_together(self, untrained):
        recipe = untrained(pretrain="absent", dpo="absent", merge={"weights": {"sft1": 1, "sft2": 1}})
        torchrun, command = (Path(sys.executable).with_name(name) for name in ("torchrun", "aqaa-data"))
        settings = ("--set", "sft1.steps=2", "--set", "sft2.steps=2", "--json")
        start = [torchrun, "--standalone", "--nproc-per-node", "2", "--no-python", command, "train", recipe]
        done = subprocess.run([*start, *settings], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert [stage["stage"] for stage in json.loads(done.stdout)["stages"]] == ["sft1", "sft2", "merge"]

    def test_processes_of_torchrun_that_share_a_bucket_alone(self, bucket, untrained, given, tmp_path):
        known = str(given.parents[1] / "language-model")
        recipe = untrained(
            output=f"{bucket}/runs",
            backbone={"checkpoint": known},
            pretrain="absent",
            dpo="absent",
            sft1={"steps": 2},
            sft2={"steps": 2},
            merge={"weights": {"sft1": 1, "sft2": 1}},
        )
        torchrun, command = (Path(sys.executable).with_name(name) for name in ("torchrun", "aqaa-data"))
        start = [torchrun, "--standalone", "--nproc-per-node", "2", "--no-python", "sh", "-c"]
        each = f"{command} train {recipe} --json --set scratch={tmp_path}/node-$RANK"
        done = subprocess.run([*start, each], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert [stage["stage"] for stage in json.loads(done.stdout)["stages"]] == ["sft1", "sft2", "merge"]
        assert len(list(tmp_path.glob("node-1/model-*"))) == 1, (
            "the model of sft1, of which it has its own copy"
        )

    def test_workers_of_ray_train_that_share_a_bucket_alone(self, bucket, untrained, command, tmp_path):
        recipe = untrained(
            output=f"{bucket}/runs", scratch=str(tmp_path / "scratch"), sft1={"steps": 4}, **ONLY_SFT1
        )
        one = json.loads(command("train", recipe, "--json").stdout)["stages"][0]
        settings = ("--set", "workers.count=2", "--set", "workers.cpus=0.5", "--set", "name=two")
        done = command("train", recipe, "--json", *settings)
        assert done.code == 0, done.stderr
        (two,) = json.loads(done.stdout)["stages"]
        assert two["after"]["loss"] == pytest.approx(one["after"]["loss"], abs=1e-4)
        assert "sft1 4/4 | loss" in done.stderr
        there = {item.path for item in Store(f"{bucket}/runs/two/sft1").list()}
        assert {"model/model.safetensors", "model/tokenizer.json", "report.html"} <= there

    def test_two_workers_of_ray_train_have_the_losses_of_one_process(self, untrained, command):
        recipe = untrained(pretrain="absent", sft1={"steps": 4})
        one = json.loads(command("train", recipe, "--stage", "sft1", "--json").stdout)["stages"][0]
        settings = ("--set", "workers.count=2", "--set", "workers.cpus=0.5", "--set", "name=two")
        done = command("train", recipe, "--stage", "sft1", "--json", *settings)
        assert done.code == 0, done.stderr
        (two,) = json.loads(done.stdout)["stages"]
        assert two["steps"] == one["steps"] == 4
        assert two["after"]["loss"] == pytest.approx(one["after"]["loss"], abs=1e-4)
        assert "sft1 4/4 | loss" in done.stderr

    def test_an_error_in_a_worker_is_reported_in_one_message(self, untrained, command):
        recipe = untrained(pretrain="absent", sft1={"steps": 4, "learning_rate": 1e30})
        settings = ("--set", "workers.count=2", "--set", "workers.cpus=0.5")
        done = command("train", recipe, "--stage", "sft1", *settings)
        assert done.code == 1
        assert "Training stopped; the last checkpoint is intact. Samples of the step" in done.stderr
        assert "Traceback" not in done.stderr

    def test_more_workers_than_cores_are_refused(self, untrained, command):
        recipe = untrained(
            workers={"count": 512}, train=RECIPE["train"] | {"global_batch_size": 512}, pretrain="absent"
        )
        done = command("train", recipe, "--stage", "sft1")
        assert "512 workers need 512 cores and 0 GPUs, and Ray has" in done.stderr


class TestBadSetUps:
    """One clear message each, before anything is trained."""

    def refused(self, command, recipe, *arguments):
        done = command("train", recipe, *arguments)
        assert done.code == 1
        assert not list((recipe.parent / "runs").glob("*/*/checkpoints"))
        return done.stderr

    def test_a_dataset_that_does_not_exist(self, untrained, command, given):
        recipe = untrained()
        stderr = self.refused(command, recipe, "--dataset", given.parent / "gven")
        assert "there is no dataset 'gven'" in stderr
        assert "did you mean given?" in stderr

    def test_a_version_without_the_families(self, untrained, command):
        stderr = self.refused(command, untrained(sft1={"families": ["aqta", "taqta"]}))
        assert "has no samples of taqta to train on; it has aqta 12, aqtaa 12" in stderr

    def test_documents_are_chosen_again_when_refused_settings_are_corrected(self, untrained, command):
        file = untrained().parent / "runs" / "chain" / "sft2" / "documents.json"
        for bound, chosen in ((3, 4), (2, 12)):
            quality = {"dnsmos_overall_min": bound}
            self.refused(command, untrained(sft2={"quality": quality}, workers={"count": 3}))
            assert json.loads(file.read_text())["counts"]["chosen"] == chosen

    def test_a_quality_that_no_turn_has(self, untrained, command):
        stderr = self.refused(command, untrained(sft2={"quality": {"dnsmos_overall_min": 4.9}}))
        assert "has no documents for the stage" in stderr

    def test_a_checkpoint_of_another_vocabulary(self, trained, untrained, command, tmp_path):
        known = trained.stage("sft1") / "model"
        other = tmp_path / "other"
        other.mkdir()
        for file in known.iterdir():
            (other / file.name).write_bytes(file.read_bytes())
        vocabulary = json.loads((other / "vocabulary.json").read_text()) | {
            "name": "another",
            "sha256": "0" * 64,
        }
        (other / "vocabulary.json").write_text(json.dumps(vocabulary))
        recipe = untrained(backbone={"checkpoint": str(other)}, pretrain="absent")
        assert "was trained on another (" in self.refused(command, recipe)

    def test_a_checkpoint_of_another_shape(self, trained, untrained, command):
        known = str(trained.stage("sft1") / "model")
        recipe = untrained(backbone={"checkpoint": known, "preset": "small"}, pretrain="absent")
        assert "has hidden 64, but the preset small has 768" in self.refused(command, recipe)

    def test_a_folder_that_is_not_a_checkpoint(self, untrained, command, tmp_path):
        recipe = untrained(backbone={"checkpoint": str(tmp_path / "nothing")}, pretrain="absent")
        assert "is not a checkpoint: it has no config.json" in self.refused(command, recipe)

    def test_too_little_memory(self, untrained, command):
        stderr = self.refused(command, untrained(backbone={"preset": "step1-130b"}))
        assert "it takes about" in stderr
        assert "GB are available" in stderr
        assert "optimizer" in stderr

    def test_workers_that_cant_share_a_batch_evenly(self, untrained, command):
        stderr = self.refused(command, untrained(workers={"count": 3}))
        assert "3 processes can't share global_batch_size 2 evenly in micro-batches of 1: make it" in stderr
        assert "a multiple of 3" in stderr

    def test_sequences_longer_than_the_models_context(self, untrained, command):
        stderr = self.refused(command, untrained(), "--set", "sft1.sequence_length=4096")
        assert "sequence_length 4,096 is more than the model's context, 2,048" in stderr

    def test_an_output_that_cant_be_written(self, untrained, command, tmp_path):
        (tmp_path / "file").write_text("")
        stderr = self.refused(command, untrained(), "--output", tmp_path / "file" / "runs")
        assert str(tmp_path / "file") in stderr

    def test_a_stage_that_another_process_trains(self, untrained, command, tmp_path):
        recipe = untrained(**ONLY_SFT1, sft1={"steps": 2})
        with alone_in(tmp_path / "runs" / "chain" / "sft1"):
            assert "another process trains in" in self.refused(command, recipe)
        assert command("train", recipe).code == 0, "nothing of it stays"
