"""A recording that kills its worker is detected and set aside; no other recording is blamed."""

import os
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from pipeline.config.recipe import load
from pipeline.ledger.worker_deaths import TaskInProgress, record_crash
from pipeline.planning.plan import make_plan
from tests.conftest import DEMO
from tests.faults.builds import running, watch_tasks
from tests.faults.recipes import FEW, write_recipe

KILLER = "long.wav"


@pytest.fixture
def recipe(tmp_path):
    """One unit of two short recordings and a long one, on which its worker spends most of the time."""
    recipe = write_recipe(tmp_path, FEW[1:])
    recipe.write_text(recipe.read_text().replace("recordings: 1", "recordings: 100"))
    speech, rate = soundfile.read(DEMO / FEW[0], dtype="int16")
    soundfile.write(tmp_path / "in" / KILLER, np.tile(speech, 400), rate)
    return recipe


@pytest.mark.slow
def test_two_crashes_in_earlier_runs_count_towards_the_limit_of_three(recipe, open_ray):
    plan = make_plan(load(str(recipe)))
    (unit,) = plan.units
    for recordings in (tuple(r.id for r in unit.recordings), (KILLER,), (KILLER,)):
        record_crash(
            plan.dataset,
            plan.stages[0].fingerprint,
            TaskInProgress("decode", unit.name, 0, recordings, "gone", 1),
        )
    with running(recipe) as build:
        assert kill(build, 1) == [(KILLER,)]
        result = build.wait().output
    assert result["recordings"] == {"in": 3, "kept": 1, "set_aside": 2}
    assert blamed(recipe, result) == {KILLER: "decode"}


@pytest.mark.slow
def test_three_crashes_alone_set_a_recording_aside_across_drivers(recipe, open_ray):
    with running(recipe) as build:
        # First with the others of its unit, then alone.
        assert [len(recordings) for recordings in kill(build, 2)] == [3, 1]
        build.kill(number=signal.SIGKILL)
    with running(recipe) as build:
        assert [len(recordings) for recordings in kill(build, 2)] == [1, 1]
        result = build.wait().output
    assert result["recordings"] == {"in": 3, "kept": 1, "set_aside": 2}
    assert blamed(recipe, result) == {KILLER: "decode"}


def kill(build, times):
    """Kill the worker that processes the killer, `times` times; the recordings it had in progress."""
    killed = []
    with watch_tasks(build) as tasks_in_progress:
        while len(killed) < times:
            tasks = []
            assert build.until(
                lambda tasks=tasks: (
                    tasks.extend(task for task in tasks_in_progress() if KILLER in task.recordings) or tasks
                )
            )
            os.kill(tasks[0].process, signal.SIGKILL)
            killed.append(tasks[0].recordings)
            assert build.until(
                lambda dead=tasks[0].process: all(task.process != dead for task in tasks_in_progress())
            )
    return killed


def blamed(recipe, result):
    """Recording -> stage, of the recordings that killed their worker."""
    table = recipe.parent / "out" / "few" / "versions" / result["version"] / "set_aside.parquet"
    rows = pq.read_table(table).to_pylist()
    return {row["recording"]: row["stage"] for row in rows if row["code"] == "killed_the_worker"}
