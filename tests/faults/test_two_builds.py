"""Two builds of one version at once: neither corrupts, one publishes, and the other says so."""

import pytest

from tests.faults.builds import contents, running


@pytest.mark.slow
def test_of_two_builds_at_once_one_publishes_and_the_other_says_so(few, tmp_path):
    output = tmp_path / "out"
    with running(few.recipe, "--output", output) as one, running(few.recipe, "--output", output) as other:
        ends = [one.wait(), other.wait()]
    assert sorted(end.said["status"] for end in ends) == ["published", "unchanged"]
    assert {end.said["version"] for end in ends} == {few.version}
    assert contents(output / "few" / "versions" / few.version) == few.files
