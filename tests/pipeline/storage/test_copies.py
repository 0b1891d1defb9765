"""Copies of folders of buckets: made once on a node, and again when the bucket has something else."""

import multiprocessing
from pathlib import Path

import pytest

from pipeline.storage.copies import Copies, fetch
from pipeline.storage.store import Store
from schemas.errors import SetupError


@pytest.fixture
def model(bucket) -> str:
    """URI of a folder."""
    for path in ("config.json", "model.safetensors", "more/notes.txt"):
        Store(f"{bucket}/model").put(path, path.encode())
    return f"{bucket}/model"


def contents(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


WHOLE = {name: name for name in ("config.json", "model.safetensors", "more/notes.txt")}


def get(folder, uri, barrier, answers):
    barrier.wait(60)
    answers.put(contents(Copies(folder).get(uri)))


def test_of_two_processes_one_downloads(model, proxy, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=get, args=(tmp_path, model, barrier, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=120) for _ in processes] == [WHOLE, WHOLE]
    for process in processes:
        process.join()
    downloads = [path for method, path in proxy.seen if method == "GET" and "model.safetensors" in path]
    assert len(downloads) == 1


def test_what_was_replaced_is_copied_again(model, tmp_path):
    copies = Copies(tmp_path)
    assert contents(copies.get(model)) == WHOLE
    Store(model).put("config.json", b"other")
    Store(model).delete(["more/notes.txt"])
    assert contents(copies.get(model)) == {"config.json": "other", "model.safetensors": "model.safetensors"}


def test_a_folder_that_was_uploaded_becomes_the_copy(model, proxy, tmp_path):
    uploaded = tmp_path / "uploaded"
    uploaded.mkdir()
    (uploaded / "config.json").write_text("of this node")
    copies = Copies(tmp_path / "copies")
    kept = copies.keep(model, uploaded)
    assert contents(copies.get(model)) == contents(kept) == {"config.json": "of this node"}
    assert not [path for method, path in proxy.seen if method == "GET" and "config.json" in path]


def test_what_is_not_there_and_a_full_disk_are_told(model, tmp_path):
    with pytest.raises(SetupError, match=r"there is nothing at s3://.*/other"):
        Copies(tmp_path).get(model.replace("model", "other"))
    with pytest.raises(SetupError, match=r"can't copy s3://.*/config.json to /dev/full: No space left"):
        fetch(Store(model), "config.json", Path("/dev/full"))


class Vanishing(Store):
    """An object is deleted once it is open, before anything of it is read."""

    def open(self, path, at_once=0):
        opened = super().open(path, at_once)
        self.delete([path])
        return opened


def test_an_object_that_vanishes_is_not_told_as_a_full_disk(model, tmp_path):
    with pytest.raises(FileNotFoundError):
        fetch(Vanishing(model), "config.json", tmp_path / "config.json")
