"""A build that would wait for ever ends, with a message that names the stage and the numbers."""

import os
import signal

import pytest

from tests.faults.builds import running, watch_tasks


def first_task(build, tasks, matches):
    """The first task in progress that matches."""
    matching = []
    assert build.until(lambda: matching.extend(task for task in tasks() if matches(task)) or matching)
    return matching[0]


@pytest.mark.slow
def test_a_hanging_worker_is_named_with_its_unit(few, tmp_path, open_ray):
    with running(few.recipe, "--output", tmp_path / "out", "--set", "resources.stall_minutes=1") as build:
        with watch_tasks(build) as tasks:
            task = first_task(build, tasks, lambda task: task.stage == "transcribe" and task.unit)
            os.kill(task.process, signal.SIGSTOP)
        ended = build.wait()
    assert ended.code == 1
    assert f"A worker of transcribe (process {task.process}) has unit {task.unit}" in ended.message
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.slow
def test_workers_that_die_while_loading_models_end_the_build(few, tmp_path, open_ray):
    with running(few.recipe, "--output", tmp_path / "out") as build:
        with watch_tasks(build) as tasks:
            killed: set[int] = set()
            while len(killed) < 3:
                task = first_task(
                    build,
                    tasks,
                    lambda task: task.stage == "transcribe" and not task.unit and task.process not in killed,
                )
                os.kill(task.process, signal.SIGKILL)
                killed.add(task.process)
        ended = build.wait()
    assert ended.code == 1
    assert "transcribe: its process died 3 times while it loaded its models" in ended.message
    assert "1.5 GB" in ended.message
    assert "Traceback" not in ended.stderr
