"""Pack groups: how units are divided among them, and how work on many of them is run."""

import random
from dataclasses import dataclass, field

import pytest

from pipeline.config.recipe import Recipe
from pipeline.inputs.listing import ListedRecording
from pipeline.inputs.units import PlannedUnit
from pipeline.pack.groups import UNITS_PER_GROUP, Group, cut, each_group, units_by_prefix
from schemas.errors import SetupError


def units(number):
    return [
        PlannedUnit((ListedRecording(f"{n:05d}.wav", f"file:///{n}", 1, "e", None, ()),))
        for n in range(number)
    ]


@dataclass
class GivenPlan:
    """What `cut` reads of a plan, with every unit committed by one stage."""

    units: list
    pack: dict = field(default_factory=dict)
    texts: tuple = ()
    pair_only: frozenset = frozenset()
    recipe: Recipe = field(default_factory=lambda: Recipe(name="given", inputs=("in",), output="out"))

    def committed(self):
        return {"decode": {unit.name: [f"annotations/{unit.name}.parquet"] for unit in self.units}}


def fingerprints(some):
    return {group.name: group.fingerprint for group in cut(GivenPlan(some))}


class TestDivision:
    def test_few_units_are_one_group_with_an_empty_prefix(self):
        assert list(units_by_prefix(units(UNITS_PER_GROUP))) == [""]
        assert len(units_by_prefix(units(UNITS_PER_GROUP + 1))) > 1
        assert units_by_prefix([]) == {}

    def test_every_unit_is_in_the_one_group_whose_prefix_its_id_has(self):
        some = units(500)
        groups = units_by_prefix(some)
        assert sorted(unit.id for group in groups.values() for unit in group) == sorted(u.id for u in some)
        for prefix, group in groups.items():
            assert 0 < len(group) <= UNITS_PER_GROUP
            assert all(f"{int(unit.id, 16):064b}".startswith(prefix) for unit in group)

    def test_only_full_groups_are_split(self):
        groups = units_by_prefix(units(500))
        for prefix in groups:
            parents = [
                unit for name, group in groups.items() if name.startswith(prefix[:-1]) for unit in group
            ]
            assert len(parents) > UNITS_PER_GROUP

    def test_groups_depend_on_the_current_units_alone(self):
        some = units(300)
        shuffled = random.Random(0).sample(some, len(some))
        by_id = {prefix: {u.id for u in group} for prefix, group in units_by_prefix(some).items()}
        again = {prefix: {u.id for u in group} for prefix, group in units_by_prefix(shuffled).items()}
        assert again == by_id

    def test_units_with_one_id_end_the_division(self):
        same = units(1) * (UNITS_PER_GROUP + 1)
        assert [len(group) for group in units_by_prefix(same).values()] == [len(same)]


class TestGrowth:
    def test_a_dataset_that_doubles_in_small_steps_packs_few_groups_again_at_each(self):
        every = units(1024)
        before = fingerprints(every[:512])
        for number in range(520, len(every) + 1, 8):
            now = fingerprints(every[:number])
            # Eight new units touch at most eight groups; a group that is split becomes two.
            assert len(now.items() - before.items()) <= 16
            before = now

    def test_a_removed_unit_changes_its_own_group_alone(self):
        every = units(512)
        before, after = fingerprints(every), fingerprints(every[1:])
        assert len(after.items() - before.items()) == 1

    def test_the_fingerprint_of_a_small_dataset_stays(self):
        assert fingerprints(units(3)) == {"": GOLDEN}


GOLDEN = "fed5b9baf4c5a997"
"""Of three units in one group, since groups have fingerprints: another value would change version ids."""


def groups(number):
    return [Group(f"{index:05b}", "f", files=({}, {})) for index in range(number)]


@pytest.mark.slow
def test_many_groups_return_in_order_and_a_setup_error_keeps_its_message():
    def work(group, refused=None):
        if group.name == refused:
            raise SetupError(f"{group.name} is refused")
        return group.name

    todo = groups(UNITS_PER_GROUP)
    assert each_group(todo, work) == [group.name for group in todo]
    with pytest.raises(SetupError, match=r"^00011 is refused$"):
        each_group(todo, lambda group: work(group, "00011"))
