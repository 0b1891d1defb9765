"""Groups packed beside each other: what one of them can't do is told as if there were one."""

import pytest

from pipeline.pack.groups import UNITS_A_GROUP, Group, each_group
from schemas.errors import SetupError


def groups(number):
    return [Group(f"{index:05b}", "f", files=({}, {})) for index in range(number)]


@pytest.mark.slow
def test_many_groups_come_back_in_order_and_trouble_with_its_own_words():
    def work(group, refused=None):
        if group.name == refused:
            raise SetupError(f"{group.name} is refused")
        return group.name

    todo = groups(UNITS_A_GROUP)
    assert each_group(todo, work) == [group.name for group in todo]
    with pytest.raises(SetupError, match=r"^00011 is refused$"):
        each_group(todo, lambda group: work(group, "00011"))
