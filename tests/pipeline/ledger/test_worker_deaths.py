"""Recorded deaths: counted across drivers, by recording and attempt, without names of recordings."""

from dataclasses import replace

import pytest

from pipeline.cluster.ray import alive_nodes, running
from pipeline.ledger.worker_deaths import TaskInProgress, crash_counts, died_alone, record_crash
from pipeline.storage.store import Store


@pytest.fixture
def dataset(tmp_path):
    return Store(str(tmp_path / "out"))


def died(*recordings, unit="ab-cd", attempt=0):
    return TaskInProgress("decode", unit, attempt, recordings, "node", 1)


def test_a_unit_without_deaths_has_no_counts(dataset):
    assert crash_counts(dataset, "f", "ab-cd").total == 0


def test_only_deaths_alone_are_counted_against_a_recording(dataset):
    for hand in (died("a.wav", "b.wav"), died("a.wav"), died("b.wav"), died("a.wav")):
        record_crash(dataset, "f", hand)
    found = crash_counts(Store(dataset.uri), "f", "ab-cd")
    assert (found.total, found.of("a.wav"), found.of("b.wav"), found.of("c.wav")) == (4, 2, 1, 0)


def test_each_unit_stage_and_attempt_has_its_own_counts(dataset):
    record_crash(dataset, "f", died("a.wav"))
    record_crash(dataset, "f", died("a.wav", attempt=1))
    assert crash_counts(dataset, "f", "ab-cd", 1).of("a.wav") == 1
    assert crash_counts(dataset, "f", "ab-cd", 2).total == 0
    assert crash_counts(dataset, "g", "ab-cd").total == 0
    assert crash_counts(dataset, "f", "ef-cd").total == 0


def test_a_recorded_death_does_not_contain_the_name_of_a_recording(dataset):
    record_crash(dataset, "f", died("calls/alice.wav"))
    assert all(b"alice" not in dataset.get(item.path) for item in dataset.list("deaths"))


def test_a_worker_that_died_with_its_node_is_not_counted():
    with running():
        (here,) = alive_nodes()
        assert died_alone(died("a.wav"), this_node="node"), "on the node that asks"
        assert died_alone(replace(died("a.wav"), node=here), this_node="another"), "on one that answers"
        assert not died_alone(replace(died("a.wav"), node="12" * (len(here) // 2)), this_node=here), (
            "on one that is gone"
        )
