"""Stages of a bucket: each process has a folder of its own, and a node one copy of a model."""

import gc
import os
import pickle
import socket
import time
from pathlib import Path

import pytest

from pipeline.storage.store import Store
from pipeline.training import training_folder
from pipeline.training.recipe import BackboneConfig, TrainingRecipe
from pipeline.training.training_folder import TrainingFolder, built_once

STAGE = ("checkpoints/00000002/.metadata", "documents.arrow", "metrics.jsonl", "run.json")


@pytest.fixture
def recipe(bucket, tmp_path) -> TrainingRecipe:
    """Of a training with a stage that was stopped."""
    output = f"{bucket}/runs"
    for path in STAGE:
        Store(f"{output}/chain/sft1").put(path, b"{}")
    return TrainingRecipe(
        name="chain",
        dataset="calls",
        output=output,
        scratch=str(tmp_path / "scratch"),
        backbone=BackboneConfig(preset="tiny"),
    )


def files_in(folder: Path):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def there(recipe):
    return sorted(item.path for item in Store(f"{recipe.output}/chain/sft1").list())


def test_each_process_begins_with_the_files_of_the_bucket(recipe, tmp_path):
    folder = TrainingFolder(recipe)
    of_another = pickle.loads(pickle.dumps(folder))
    stages = [each.stage("sft1") for each in (folder, of_another)]
    assert stages[0] != stages[1]
    for stage in stages:
        assert files_in(stage) == ["documents.arrow", "metrics.jsonl", "run.json"]
    del folder, of_another
    gc.collect()
    assert not list((tmp_path / "scratch").iterdir()), "the folders go with the processes"


def test_folders_of_killed_processes_are_removed(recipe, tmp_path):
    def leave(name: str, seconds_ago: float, host: str = socket.gethostname()) -> Path:
        folder = tmp_path / "scratch" / f".chain-{name}"
        (folder / "sft1").mkdir(parents=True)
        (folder / ".lock").write_text(host)
        os.utime(folder / ".lock", (time.time() - seconds_ago,) * 2)
        return folder

    living = TrainingFolder(recipe)
    os.utime(living.own / ".lock", (0, 0))
    killed, beginning, elsewhere = leave("killed", 120), leave("beginning", 0), leave("other", 120, "node-7")
    another = TrainingFolder(recipe)
    assert another.own.is_dir()
    assert not killed.exists()
    assert all(folder.exists() for folder in (living.own, beginning, elsewhere))


def test_what_changes_is_put_back_but_for_what_is_hidden_and_the_model(recipe, proxy):
    folder = TrainingFolder(recipe)
    stage = folder.stage("sft1")
    (stage / "metrics.jsonl").write_text("{}\n{}\n")
    for path in ("answers/run.json", "model/config.json", ".model.partial/config.json", ".some.partial"):
        (stage / path).parent.mkdir(exist_ok=True)
        (stage / path).write_text("new")
    proxy.seen.clear()
    folder.push("sft1")
    folder.push("sft1")
    put = sorted(path.partition("/sft1/")[2] for method, path in proxy.seen if method == "PUT")
    assert put == ["answers/run.json", "metrics.jsonl"]
    assert there(recipe) == sorted([*STAGE, "answers/run.json"])


def test_a_stage_is_done_once_its_model_is_complete(recipe):
    folder = TrainingFolder(recipe)
    model = folder.stage("sft1") / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("{}")
    Store(f"{recipe.output}/chain/sft1").put("model/model.safetensors", b"of a stopped upload")
    assert not folder.is_done("sft1")
    folder.publish("sft1")
    assert folder.is_done("sft1")
    assert folder.model_uri("sft1") == f"{recipe.output}/chain/sft1/model"
    assert files_in(folder.model("sft1")) == ["config.json", "model.safetensors"]
    assert not model.exists(), "it is the copy of this node by now"


def test_metrics_of_another_process_are_followed(recipe):
    files = TrainingFolder(recipe).remote("sft1")
    metrics = files.folder / "metrics.jsonl"
    files.objects.put("metrics.jsonl", b"1\n2\n")
    files.pull_changed("metrics.jsonl", "packing.npz")
    assert metrics.read_text() == "1\n2\n"
    metrics.write_text("not replaced")
    files.pull_changed("metrics.jsonl")
    assert metrics.read_text() == "not replaced"


def test_the_first_of_two_builders_wins(tmp_path):
    target = tmp_path / "backbone"
    with built_once(target, complete_with="config.json") as slower:
        slower.mkdir()
        (slower / "config.json").write_text("slower")
        with built_once(target, complete_with="config.json") as faster:
            faster.mkdir()
            (faster / "config.json").write_text("faster")
    assert (target / "config.json").read_text() == "faster"
    assert [path.name for path in tmp_path.iterdir()] == ["backbone"]


def test_a_folder_that_cant_be_replaced_is_an_error(tmp_path):
    (tmp_path / "target").write_text("a file")
    with (
        pytest.raises(OSError, match="Not a directory"),
        built_once(tmp_path / "target", complete_with=training_folder.RUN) as partial,
    ):
        partial.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
