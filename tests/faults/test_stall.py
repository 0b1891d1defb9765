"""What would make a build wait for ever ends it, with the stage and the numbers."""

import os
import signal

import pytest

from tests.faults.builds import running, watched


def first_in_hand(build, in_hand, wanted):
    """The first task of the kind that is wanted."""
    found = []
    assert build.until(lambda: found.extend(task for task in in_hand() if wanted(task)) or found)
    return found[0]


@pytest.mark.slow
def test_a_worker_that_hangs_is_named_with_what_it_has_in_hand(few, tmp_path, open_ray):
    with running(few.recipe, "--output", tmp_path / "out", "--set", "resources.stall_minutes=1") as build:
        with watched(build) as in_hand:
            task = first_in_hand(build, in_hand, lambda task: task.stage == "transcribe" and task.unit)
            os.kill(task.process, signal.SIGSTOP)
        ended = build.wait()
    assert ended.code == 1
    assert f"A worker of transcribe (process {task.process}) has unit {task.unit}" in ended.message
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.slow
def test_a_stage_whose_workers_die_over_their_models_ends_the_build(few, tmp_path, open_ray):
    with running(few.recipe, "--output", tmp_path / "out") as build:
        with watched(build) as in_hand:
            killed: set[int] = set()
            while len(killed) < 3:
                task = first_in_hand(
                    build,
                    in_hand,
                    lambda task: task.stage == "transcribe" and not task.unit and task.process not in killed,
                )
                os.kill(task.process, signal.SIGKILL)
                killed.add(task.process)
        ended = build.wait()
    assert ended.code == 1
    assert "transcribe: its process died 3 times while it loaded its models" in ended.message
    assert "1.5 GB" in ended.message
    assert "Traceback" not in ended.stderr
