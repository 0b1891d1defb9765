"""Hours from headers, and what a pilot takes of them."""

import pytest

from pipeline.inputs.estimate import HoursEstimate, take_hours
from pipeline.inputs.listing import list_inputs
from pipeline.inputs.units import UnitsConfig, cut
from tests.paths import DEMO


@pytest.fixture(scope="module")
def listing():
    return list_inputs([str(DEMO)]).recordings


def test_the_demo_is_estimated_within_a_fifth_of_its_8_minutes(listing):
    assert HoursEstimate.of(listing).seconds == pytest.approx(8 * 60, rel=0.35)


def test_a_pilot_takes_whole_units_the_same_each_time(listing):
    units = list(cut(listing, UnitsConfig(recordings=2)))
    estimate = HoursEstimate.of(listing)
    pilot = take_hours(units, estimate, 0.05)
    assert 0 < len(pilot) < len(units)
    assert set(pilot) <= set(units)
    assert take_hours(units[::-1], estimate, 0.05) == pilot
    assert set(pilot) <= set(take_hours(units, estimate, 0.08))


def test_a_pilot_smaller_than_any_unit_takes_some_recordings_of_one(listing):
    (unit,) = cut(listing, UnitsConfig(recordings=1000))
    (pilot,) = take_hours([unit], HoursEstimate.of(listing), 0.02)
    assert 1 <= len(pilot.recordings) < len(unit.recordings)
