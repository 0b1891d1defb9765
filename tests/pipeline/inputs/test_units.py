"""Units: cuts that content decides."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs.listing import ListedRecording
from pipeline.inputs.units import UnitsConfig, cut

paths = st.lists(st.text("abcdef/", min_size=1, max_size=8), unique=True, min_size=1, max_size=300)


def listing(names, size=1000):
    return [ListedRecording(name, f"file:///{name}", size, "tag", None, ()) for name in sorted(names)]


@given(paths)
def test_every_recording_falls_into_exactly_one_unit_in_order(names):
    units = list(cut(listing(names), UnitsConfig()))
    assert [r.id for unit in units for r in unit.recordings] == sorted(names)
    assert all(1 <= len(unit.recordings) <= 64 for unit in units)


@given(paths, st.text("abcdef/", min_size=1, max_size=8))
def test_a_new_recording_disturbs_the_units_around_it_alone(names, new):
    config = UnitsConfig(recordings=4)
    before = {unit.name for unit in cut(listing(set(names) - {new}), config)}
    after = {unit.name for unit in cut(listing({*names, new}), config)}
    # One unit gains it, or is cut in two by it; a unit at its bound may push its last one onward.
    assert len(after - before) <= 3


def test_a_changed_file_changes_the_name_of_its_unit_but_not_the_id():
    recordings = listing(["a", "b", "c"])
    changed = [
        ListedRecording("b", "file:///b", 999, "other", None, ()) if r.id == "b" else r for r in recordings
    ]
    config = UnitsConfig(recordings=1000)
    (old,), (new,) = cut(recordings, config), cut(changed, config)
    assert old.id == new.id
    assert old.name != new.name


def test_units_hold_no_more_bytes_than_allowed_unless_one_file_alone_does():
    units = list(cut(listing("abcdef", size=600_000), UnitsConfig(recordings=1000, megabytes=1)))
    assert [len(unit.recordings) for unit in units] == [1] * 6


def test_the_mean_is_what_was_asked_for():
    units = list(cut(listing(f"{n:06d}" for n in range(20_000)), UnitsConfig(recordings=16)))
    assert 14 < 20_000 / len(units) < 18
