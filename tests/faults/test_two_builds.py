"""Two concurrent builds of one version: one publishes, the other reports `unchanged`."""

import pytest

from tests.faults.builds import contents, running


@pytest.mark.slow
def test_of_two_concurrent_builds_one_publishes(few, tmp_path):
    output = tmp_path / "out"
    with running(few.recipe, "--output", output) as one, running(few.recipe, "--output", output) as other:
        ends = [one.wait(), other.wait()]
    assert sorted(end.output["status"] for end in ends) == ["published", "unchanged"]
    assert {end.output["version"] for end in ends} == {few.version}
    assert contents(output / "few" / "versions" / few.version) == few.files
