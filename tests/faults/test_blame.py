"""A recording that kills its worker is found out and set aside; nothing else is blamed."""

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
from tests.faults.builds import running, watched
from tests.faults.recipes import FEW, a_recipe

GUILTY = "long.wav"


@pytest.fixture
def recipe(tmp_path):
    """One unit of two short recordings and one of minutes, so that its worker is found over it."""
    recipe = a_recipe(tmp_path, FEW[1:])
    recipe.write_text(recipe.read_text().replace("recordings: 1", "recordings: 100"))
    speech, rate = soundfile.read(DEMO / FEW[0], dtype="int16")
    soundfile.write(tmp_path / "in" / GUILTY, np.tile(speech, 400), rate)
    return recipe


@pytest.mark.slow
def test_after_two_deaths_alone_in_earlier_runs_a_third_one_is_the_last(recipe, open_ray):
    plan = make_plan(load(str(recipe)))
    (unit,) = plan.units
    for hand in (tuple(r.id for r in unit.recordings), (GUILTY,), (GUILTY,)):
        record_crash(
            plan.dataset, plan.stages[0].fingerprint, TaskInProgress("decode", unit.name, 0, hand, "gone", 1)
        )
    with running(recipe) as build:
        assert kill(build, 1) == [(GUILTY,)]
        said = build.wait().said
    assert said["recordings"] == {"in": 3, "kept": 1, "set_aside": 2}
    assert blamed(recipe, said) == {GUILTY: "decode"}


@pytest.mark.slow
def test_what_kills_its_worker_three_times_alone_is_set_aside_also_across_drivers(recipe, open_ray):
    with running(recipe) as build:
        # With the others of its unit, then alone.
        assert [len(hand) for hand in kill(build, 2)] == [3, 1]
        build.kill(number=signal.SIGKILL)
    with running(recipe) as build:
        assert [len(hand) for hand in kill(build, 2)] == [1, 1]
        said = build.wait().said
    assert said["recordings"] == {"in": 3, "kept": 1, "set_aside": 2}
    assert blamed(recipe, said) == {GUILTY: "decode"}


def kill(build, times):
    """Kill the worker that has the guilty recording in hand, so often; what was in its hands."""
    found = []
    with watched(build) as in_hand:
        while len(found) < times:
            tasks = []
            assert build.until(
                lambda tasks=tasks: (
                    tasks.extend(task for task in in_hand() if GUILTY in task.recordings) or tasks
                )
            )
            os.kill(tasks[0].process, signal.SIGKILL)
            found.append(tasks[0].recordings)
            assert build.until(lambda dead=tasks[0].process: all(task.process != dead for task in in_hand()))
    return found


def blamed(recipe, said):
    """Recording -> stage, of those that killed their worker."""
    table = recipe.parent / "out" / "few" / "versions" / said["version"] / "set_aside.parquet"
    rows = pq.read_table(table).to_pylist()
    return {row["recording"]: row["stage"] for row in rows if row["code"] == "killed_the_worker"}
