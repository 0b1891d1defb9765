"""The line that a build shows, and that it keeps going."""

import threading

import pytest

from pipeline.monitoring.display import BuildDisplay, duration
from pipeline.monitoring.progress import StageTally


class LateActor:
    """A progress actor whose first answers come too late."""

    def __init__(self, late):
        self.late = late
        self.read = self
        self.answered = threading.Event()

    def remote(self):
        return self

    def get(self, answer, timeout):
        assert answer is self
        if self.late:
            self.late -= 1
            raise TimeoutError("no answer in time")
        self.answered.set()
        return {"decode": StageTally(audio_seconds=3600.0)}


def test_a_late_answer_skips_a_round_and_does_not_end_the_display(monkeypatch, capsys):
    actor = LateActor(late=2)
    monkeypatch.setattr("ray.get", actor.get)
    monkeypatch.setattr("pipeline.monitoring.display._EVERY", 0.001)
    monkeypatch.setattr("pipeline.monitoring.display.LOG_EVERY", 0.0)
    display = BuildDisplay({"a": {"decode": 3600.0}}, ["decode"], cpus=2)
    with display.following(actor):
        assert actor.answered.wait(timeout=20)
    assert "decode 1.00 h" in capsys.readouterr().err


def test_the_line_names_share_stages_and_set_aside():
    work = {"a": {"decode": 1800.0, "tokenize": 1800.0}, "b": {"decode": 1800.0, "tokenize": 1800.0}}
    display = BuildDisplay(work, ["decode", "tokenize"], cpus=2)
    assert display.line({}, now=0.0) == "0% | loading models | 0 set aside | decode 0.00 h, tokenize 0.00 h"
    tally = StageTally(audio_seconds=1800.0, set_aside=3, done_seconds=1800.0, done_units=1)
    tally.recent.append((1800.0, 13.0))
    line = display.line({"decode": tally}, now=60.0)
    assert line == "6% | estimating | 3 set aside | decode 0.50 h, tokenize 0.00 h"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "almost done"), (44, "about 40 s left"), (130, "about 2 min left"), (7200, "about 2.0 h left")],
)
def test_a_duration_is_rounded_to_what_can_be_known(seconds, text):
    assert duration(seconds) == text
