"""Publishing: of many concurrent publishers of one version, one succeeds, and the version is complete."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.build.publish import publish
from pipeline.pack.run import groups_of, pack_group
from pipeline.storage.store import Store
from pipeline.versions.reader import tags_of, version_at
from pipeline.versions.verify import faults
from tests.pipeline.annotations import planned
from tests.stages.annotated import a_turn


@pytest.mark.parametrize(("kind", "times"), [("file", 1), pytest.param("s3", 5, marks=pytest.mark.slow)])
def test_of_32_publishers_one_wins_each_time(kind, times, request, tmp_path):
    output = str(tmp_path / "out") if kind == "file" else f"{request.getfixturevalue('bucket')}/out"
    for number in range(times):
        name = f"{number}.wav"
        said = [
            a_turn(start=5.0 * n, end=5.0 * n + 4.5, index=n, recording=name, text=f"words {number} {n}")
            for n in range(2)
        ]
        (tmp_path / name).mkdir()
        plan = planned(tmp_path / name, {name: said}, output=output)
        packed = [
            pack_group(group, plan.recipe, plan.dataset, plan.stages[0].fingerprint)
            for group in groups_of(plan)
        ]

        def run(writer, plan=plan, packed=packed):
            page = f"written by {writer}\n".encode()
            return publish(plan, packed, lambda manifest, tables: {"README.md": page})

        with ThreadPoolExecutor(32) as pool:
            done = list(pool.map(run, range(32)))
        assert sum(new for _, new in done) == 1
        assert all(manifest == done[0][0] for manifest, _ in done), "all return the same version"
        dataset = Store(f"{output}/given")
        version = done[0][0].version
        assert tags_of(dataset) == {"latest": version}
        assert list(faults(version_at(dataset, version))) == []
