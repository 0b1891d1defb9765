"""Stages and checkpoints of object storage, downloaded by several processes at once."""

import multiprocessing
from pathlib import Path

import pytest

from pipeline.storage.store import Store
from pipeline.training import training_folder
from pipeline.training.recipe import BackboneConfig, TrainingRecipe
from pipeline.training.training_folder import TrainingFolder, built_once


def recipe_of(output, scratch):
    return TrainingRecipe(
        name="chain",
        dataset="calls",
        output=output,
        scratch=str(scratch),
        backbone=BackboneConfig(preset="tiny"),
    )


def download(output, scratch, barrier, answers):
    """Ask for a stage and a checkpoint at the same moment as the other process."""
    list_files = Store.list

    def list_together(store, prefix=""):
        barrier.wait(60)  # both have seen that the folder is missing
        return list_files(store, prefix)

    Store.list = list_together
    folder = TrainingFolder(recipe_of(output, scratch))
    try:
        done = folder.is_done("sft1")
        checkpoint = folder.checkpoint(f"{output}/chain/sft1/model")
        answers.put((done, sorted(file.name for file in checkpoint.iterdir())))
    except BaseException as error:
        answers.put(repr(error))


@pytest.fixture
def published(bucket):
    """An output with a finished stage."""
    output = f"{bucket}/runs"
    store = Store(f"{output}/chain")
    for path in ("model/config.json", "model/model.safetensors", "metrics.jsonl", "run.json"):
        store.put(f"sft1/{path}", b"{}")
    return output


def files_in(folder: Path):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


STAGE = ["metrics.jsonl", "model/config.json", "model/model.safetensors", "run.json"]


def test_two_processes_download_one_stage(published, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    arguments = (published, tmp_path, barrier, answers)
    processes = [context.Process(target=download, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    results = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert results == [(True, ["config.json", "model.safetensors"])] * 2
    (run,) = tmp_path.glob("chain-*")
    assert files_in(run / "sft1") == STAGE
    assert [path.name for path in run.iterdir()] == ["sft1"]
    assert not list(tmp_path.glob(".*")), "no partial copies are left"


def test_a_download_that_fails_leaves_nothing(published, tmp_path, monkeypatch):
    folder = TrainingFolder(recipe_of(published, tmp_path))

    def fail(store, path):
        raise OSError("connection lost")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "open", fail)
        with pytest.raises(OSError, match="connection lost"):
            folder.is_done("sft1")
    assert not list(folder.local.iterdir())
    assert folder.is_done("sft1")


def test_a_finished_stage_replaces_one_that_was_stopped_here(published, tmp_path):
    folder = TrainingFolder(recipe_of(published, tmp_path))
    (folder.stage("sft1") / "checkpoints").mkdir(parents=True)
    assert folder.is_done("sft1")
    assert files_in(folder.stage("sft1")) == STAGE
    assert [path.name for path in folder.local.iterdir()] == ["sft1"]


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
