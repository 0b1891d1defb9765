"""Krippendorff's alpha against published values and values worked out by hand."""

import numpy as np
import pytest

from stages.preferences.agreement import alpha

METRICS = ("nominal", "ordinal", "interval")


def units(*observers):
    """The values of each unit, from one line of each observer; a dot is a missing value."""
    columns = zip(*(line.split() for line in observers), strict=True)
    return [
        [float(value) if value.isdigit() else float(ord(value)) for value in column if value != "."]
        for column in columns
    ]


@pytest.mark.parametrize(
    ("metric", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_four_observers_with_missing_values(metric, published):
    """Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", sections C and D."""
    given = units(
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    )
    assert alpha(given, metric) == pytest.approx(published, abs=5e-4)


def test_two_observers_and_binary_values():
    """Krippendorff 2011, section A: 0.095, and the same with every metric, since there are two values."""
    given = units("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0")
    for metric in METRICS:
        assert alpha(given, metric) == pytest.approx(0.095, abs=5e-4)


def test_two_observers_and_nominal_values():
    """Krippendorff 2011, section B: 0.692."""
    given = units("a a b b d c c c e d d a", "b a b b b c c c e d d d")
    assert alpha(given, "nominal") == pytest.approx(0.692, abs=5e-4)


def test_worked_out_by_hand():
    """1 once, 2 twice and 3 three times, so with the ordinal metric the squared distances are 1.5^2 between
    1 and 2, 2.5^2 between 2 and 3, and 4^2 between 1 and 3. Observed: 2 * (2.25 + 6.25) = 17. Expected:
    2 * (1*2*2.25 + 2*3*6.25 + 1*3*16) / (6 - 1) = 36."""
    given = [[1, 2], [2, 3], [3, 3]]
    assert alpha(given, "ordinal") == pytest.approx(1 - 17 / 36)
    assert alpha(given, "nominal") == pytest.approx(1 - 4 / (2 * (2 + 6 + 3) / 5))
    assert alpha(given, "interval") == pytest.approx(1 - 4 / (2 * (2 + 6 + 3 * 4) / 5))


@pytest.mark.parametrize("metric", METRICS)
def test_the_ends_of_the_scale(metric):
    assert alpha([[1, 1], [5, 5]], metric) == 1
    assert alpha([[1, 5], [5, 1]], metric) < 0
    assert alpha([[3], [4]], metric) is None
    assert alpha([[3, 3], [3, 3]], metric) is None
    assert alpha([], metric) is None
    # A unit that one rater saw changes nothing.
    assert alpha([[1, 1], [5, 5], [2, 4], [3]], metric) == alpha([[1, 1], [5, 5], [2, 4]], metric)


@pytest.mark.parametrize("metric", METRICS)
def test_raters_who_guess_do_not_agree(metric):
    guesses = np.random.default_rng(0).integers(1, 6, (5000, 3)).astype(float)
    assert alpha(guesses.tolist(), metric) == pytest.approx(0, abs=0.03)
