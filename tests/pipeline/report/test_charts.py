"""Charts: their labels have round numbers and room."""

import re
from itertools import pairwise

import numpy as np
import pytest

from pipeline.report.charts import columns, count, curve, duration_ticks, histogram, round_duration
from pipeline.report.facts import Histogram
from pipeline.report.measures import MEASURES
from pipeline.report.thresholds import Curve

HOUR = 3600


def texts(svg, kind):
    """(left, right, text) of the labels of a class, at 6 units a character."""
    found = re.findall(rf'<text class="{kind}"[^>]* x="([-\d.]+)"[^>]*>([^<]*)</text>', svg)
    return [(float(x) - 3 * len(text), float(x) + 3 * len(text), text) for x, text in found]


@pytest.mark.parametrize("seconds", [400, 40 * HOUR, 123_456 * HOUR])
@pytest.mark.parametrize(("low", "high"), [(1, 30), (0, 60), (-60, -13), (0.31, 0.99), (0.0003, 0.9)])
def test_labels_under_a_curve_never_overlap(low, high, seconds):
    values = np.linspace(low, high, 81)
    svg = str(curve(Curve("x_min", "", None, values, np.linspace(seconds / HOUR, 0, 81))))
    for kind in ("", "value"):
        labels = texts(svg, kind)
        assert labels
        assert all(a[1] < b[0] for a, b in pairwise(labels)), labels
        assert all(left >= -6 and right <= 326 for left, right, _ in labels), labels


def test_a_histogram_has_a_scale_in_units_of_time():
    filled = Histogram.empty(MEASURES[0])
    filled.kept[3], filled.aside[3] = 200.0, 100.0
    assert [text for *_, text in texts(str(histogram(filled)), "scale")] == ["2 min", "4 min"]
    assert texts(str(histogram(Histogram.empty(MEASURES[0]))), "scale") == []


@pytest.mark.parametrize("top", [0.3, 1, 59, 119, 300, 7199, 7201, 5e8])
def test_a_scale_has_one_or_two_round_durations(top):
    marks = duration_ticks(top)
    assert 1 <= len(marks) <= 2
    assert all(top / 4 < mark <= top * (1 + 1e-9) for mark in marks)
    assert all(len(round_duration(mark)) <= 10 for mark in marks)


def test_the_numbers_on_columns_fit():
    svg = str(columns([(str(n), 1_234_567.0) for n in range(8)] + [("8+", 3.0)], "speakers"))
    labels = texts(svg, "value")
    assert len(labels) == 9
    assert all(a[1] <= b[0] for a, b in pairwise(labels))
    assert [count(value) for value in (7, 9_999, 12_345, 45e6)] == ["7", "9,999", "12k", "45M"]
