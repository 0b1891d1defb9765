"""Where a training runs, and errors of Ray Train's workers as one message for the user."""

from dataclasses import dataclass

import pytest

from pipeline.storage.store import Store
from pipeline.training.launch import _ERROR_FILE, _STORE_WAIT, _worker, _workers_failed, launch
from pipeline.training.recipe import WorkersConfig
from schemas.errors import SetupError, StoreUnreachableError


@dataclass
class Failing:
    """A training that ends with an error."""

    place: Store
    error: SetupError

    def __call__(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(), "the last error was RuntimeError, no message"),
        (ValueError(" \n"), "the last error was ValueError, no message"),
        (RuntimeError("worker 1:\n  out of memory\n"), "the last error was RuntimeError: out of memory"),
    ],
)
def test_the_type_of_the_error_and_what_to_do_are_named(error, reason):
    message = _workers_failed(error, WorkersConfig(count=2, retries=3))
    assert message.startswith("the workers failed 4 times; ")
    assert reason in message
    assert "run the same command to resume" in message


@pytest.mark.parametrize(
    ("error", "written"),
    [(SetupError("lower micro_batch"), "lower micro_batch"), (SetupError(), "SetupError, no message")],
)
def test_a_workers_setup_error_is_written_down(tmp_path, error, written):
    job = Failing(Store(str(tmp_path)), error)
    with pytest.raises(SetupError):
        _worker({"job": job})
    assert (tmp_path / _ERROR_FILE).read_text() == written
    _worker({"job": job})  # a restarted worker ends at once


def test_a_worker_waits_for_a_store_that_does_not_answer_and_is_then_restarted(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("pipeline.training.launch.time.sleep", waits.append)
    job = Failing(Store(str(tmp_path)), StoreUnreachableError("can't use s3://b: HTTP error"))
    with pytest.raises(StoreUnreachableError):
        _worker({"job": job})
    assert waits == [_STORE_WAIT]
    assert not (tmp_path / _ERROR_FILE).exists()


@pytest.mark.parametrize(
    ("workers", "address", "on_ray"),
    [
        (WorkersConfig(count=2), None, True),
        (WorkersConfig(gpu=True), None, False),
        (WorkersConfig(gpu=True), "10.0.0.1:6379", True),  # the driver of a cluster's job has no GPU
        (WorkersConfig(), "10.0.0.1:6379", False),
    ],
)
def test_one_process_trains_in_this_one_unless_a_cluster_has_its_gpu(monkeypatch, workers, address, on_ray):
    trained = []
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr("pipeline.training.launch._on_ray", lambda *_: trained.append("ray"))
    launch(lambda on_progress: trained.append("here"), workers, print)
    assert trained == ["ray" if on_ray else "here"]
