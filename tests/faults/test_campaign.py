"""Part of the fault campaign in every test run; all of it, which takes an hour, with `-m slow`."""

import random
import shutil
import signal
import subprocess
import time

import pytest

from tests.faults.builds import contents, running
from tests.faults.campaign import CASES, DISKS, KINDS, STORE, run


@pytest.mark.parametrize(
    ("sign", "number", "seed"),
    [("packs/*", signal.SIGKILL, 1), ("versions/*/shards", signal.SIGTERM, 2)],
    ids=["kill -9 while packing", "SIGTERM while publishing"],
)
def test_stopped_after_annotate_the_next_run_publishes_the_same_bytes(
    small_build, tmp_path, sign, number, seed
):
    dataset = tmp_path / "out" / "small"
    shutil.copytree(small_build.dataset / "annotations", dataset / "annotations")
    with running(small_build.recipe, "--output", tmp_path / "out") as build:
        assert build.until(lambda: any(dataset.glob(sign)))
        time.sleep(random.Random(seed).uniform(0, 0.05))
        build.kill(number=number)
        ended = build.wait()
    assert ended.code in (-signal.SIGKILL, 1)
    assert "Traceback" not in ended.stderr
    with running(small_build.recipe, "--output", tmp_path / "out") as build:
        result = build.wait().output
    assert result["version"] == small_build.summary["version"]
    assert contents(dataset / "versions" / result["version"]) == contents(small_build.version)


def check(result):
    assert result.identical, result
    assert result.again <= 1, result
    assert "TRACEBACK" not in result.first


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.fault in KINDS], ids=lambda case: case.name)
def test_a_kill_changes_nothing(case, few, tmp_path):
    check(run(case, few, tmp_path, None))


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.fault in STORE], ids=lambda case: case.name)
def test_errors_of_the_store_change_nothing(case, few, tmp_path, s3):
    check(run(case, few, tmp_path, lambda: s3))


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.fault in DISKS], ids=lambda case: case.name)
def test_a_full_disk_is_reported_and_changes_nothing(case, few, tmp_path):
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("a small disk can't be mounted here")
    result = run(case, few, tmp_path, None)
    check(result)
    assert result.first != "published"
