"""Progress of processes elsewhere, read from the file that they append to."""

import json
import time

import pytest

from pipeline.training.metrics_follower import MetricsFollower, following
from stages.train.metrics import MetricsFile


def lines(*steps):
    return "".join(json.dumps({"step": step}) + "\n" for step in steps)


def steps_of(follower):
    return [metrics["step"] for metrics in follower.new_metrics()]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "metrics.jsonl"


def append(file, text):
    with file.open("a") as out:
        out.write(text)


def test_each_line_is_reported_once(file):
    follower = MetricsFollower(file)
    assert steps_of(follower) == []
    append(file, lines(0, 1))
    assert steps_of(follower) == [0, 1]
    assert steps_of(follower) == []
    append(file, lines(2))
    assert steps_of(follower) == [2]


def test_steps_of_an_earlier_run_are_not_reported(file):
    append(file, lines(0, 1))
    follower = MetricsFollower(file)
    append(file, lines(2))
    assert steps_of(follower) == [2]


def test_a_line_is_reported_when_it_is_complete(file):
    follower = MetricsFollower(file)
    append(file, lines(0) + '{"st')
    assert steps_of(follower) == [0]
    append(file, 'ep": 1}')
    assert steps_of(follower) == []
    append(file, "\n")
    assert steps_of(follower) == [1]


def test_only_what_was_appended_is_read(file, monkeypatch):
    append(file, lines(*range(1000)))
    follower = MetricsFollower(file)
    append(file, lines(1000, 1001))
    parsed = []
    monkeypatch.setattr(json, "loads", lambda line, loads=json.loads: parsed.append(line) or loads(line))
    assert steps_of(follower) == [1000, 1001]
    assert len(parsed) == 2


def test_a_resumed_run_reports_the_steps_after_those_that_it_repeats(file, tmp_path):
    append(file, lines(0, 1, 2, 3))
    follower = MetricsFollower(file)
    run = MetricsFile(file, tmp_path / "tensorboard", first=2)
    for step in (2, 3, 4):
        run.write({"step": step, "a_longer_line": 1.0})
    assert steps_of(follower) == [4]
    run.write({"step": 5})
    run.close()
    assert steps_of(follower) == [5]
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [0, 1, 2, 3, 4, 5]


def test_the_last_steps_are_reported_before_the_context_ends(file):
    reported = []
    with following(file, lambda metrics: reported.append(metrics["step"])):
        append(file, lines(0, 1))
    assert reported == [0, 1]


def test_steps_are_reported_while_the_context_is_open(file, monkeypatch):
    monkeypatch.setattr("pipeline.training.metrics_follower.POLL_SECONDS", 0.01)
    reported = []
    with following(file, lambda metrics: reported.append(metrics["step"])):
        append(file, lines(0))
        deadline = time.monotonic() + 10
        while not reported and time.monotonic() < deadline:
            time.sleep(0.01)
        assert reported == [0]
