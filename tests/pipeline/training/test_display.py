"""Plain lines are seldom enough for a log."""

import pytest

from pipeline.training import display
from pipeline.training.display import LOG_SECONDS, PlainLines


@pytest.mark.parametrize(
    ("seconds", "is_last", "due"),
    [(LOG_SECONDS - 1, False, False), (LOG_SECONDS + 1, False, True), (0.0, True, True)],
)
def test_the_first_and_the_last_step_have_a_line_and_others_now_and_then(monkeypatch, seconds, is_last, due):
    clock = [1000.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: clock[0])
    lines = PlainLines()
    assert lines.due(is_last=False), "the first"
    clock[0] += seconds
    assert lines.due(is_last) == due
