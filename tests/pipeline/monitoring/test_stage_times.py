"""Where the time went: shares add up, and the bound is the one that the numbers tell."""

import pytest

from pipeline.monitoring.stage_times import StageWork, lines, timetable


def work(**seconds):
    """Stages with one worker each, busy so long, on an hour of audio."""
    return {name: StageWork(wall, cpu, 3600.0, 1) for name, (wall, cpu) in seconds.items()}


def test_shares_add_up_and_rates_are_those_of_one_worker():
    table = timetable(
        work(decode=(10, 10), transcribe=(80, 80)), {"annotate": 90, "pack": 6, "publish": 4}, 2
    )
    assert [row.stage for row in table.rows] == ["decode", "transcribe", "pack", "publish"]
    assert sum(row.share for row in table.rows) == pytest.approx(1)
    assert table.rows[1].hours_an_hour == pytest.approx(45)
    assert table.rows[2].hours_an_hour is None


@pytest.mark.parametrize(
    ("stages", "clock", "cpus", "told"),
    [
        ({"a": (50, 90), "b": (90, 90)}, {"annotate": 100}, 2, "processors: 90% of 2 were busy, most with a"),
        ({"a": (10, 10), "b": (95, 95)}, {"annotate": 100}, 8, "b: 1 worker, busy 95%"),
        ({"a": (30, 30), "b": (40, 40)}, {"annotate": 100}, 8, "too few units to fill the stages"),
        ({"a": (5, 5)}, {"annotate": 40, "load": 30}, 2, "loading models: 30 s of 40 s"),
        ({"a": (5, 5)}, {"annotate": 40, "load": 5, "pack": 90}, 2, "pack and publish"),
        ({}, {"pack": 9, "publish": 1}, 2, "pack and publish"),
    ],
)
def test_the_bound_is_told(stages, clock, cpus, told):
    assert timetable(work(**stages), clock, cpus).bound.startswith(told)


def test_a_person_sees_a_line_a_stage_and_the_bound():
    told = list(lines(timetable(work(decode=(10, 10)), {"annotate": 12, "pack": 1, "publish": 1}, 1)))
    assert len(told) == 5
    assert "360.0 per worker" in told[1]
    assert "bounded by" in told[-1]
