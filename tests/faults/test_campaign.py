"""A part of the fault campaign in every run of the tests; all of it, which takes an hour, when asked for."""

import shutil
import subprocess

import pytest

from tests.faults.campaign import CASES, DISKS, KINDS, STORE, Case, run

SMALL = Case("small", "worker", "diarize", 7)


def check(case, few, tmp_path, server):
    result = run(case, few, tmp_path, server)
    assert result.identical, result
    assert result.again == 0 if result.first == "published" else result.again == 1, result
    assert "TRACEBACK" not in result.first


def test_a_worker_killed_in_the_middle_of_a_stage_changes_nothing(few, tmp_path):
    check(SMALL, few, tmp_path, None)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.fault in KINDS], ids=lambda case: case.name)
def test_a_kill_changes_nothing(case, few, tmp_path):
    check(case, few, tmp_path, None)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.fault in STORE], ids=lambda case: case.name)
def test_trouble_with_the_store_changes_nothing(case, few, tmp_path, s3):
    check(case, few, tmp_path, lambda: s3)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.fault in DISKS], ids=lambda case: case.name)
def test_a_full_disk_is_told_and_changes_nothing(case, few, tmp_path):
    mount = shutil.which("unshare") and subprocess.run(["unshare", "-rm", "true"]).returncode == 0
    if not mount:
        pytest.skip("a small disk can't be mounted here")
    check(case, few, tmp_path, None)
