"""A recording that kills its worker is found out and set aside; nothing else is blamed."""

import os
import signal

import numpy as np
import soundfile

from tests.conftest import DEMO
from tests.faults.builds import running, watched
from tests.faults.recipes import FEW, a_recipe

GUILTY = "long.wav"


def test_what_kills_its_worker_three_times_alone_is_set_aside_also_across_drivers(tmp_path):
    recipe = a_recipe(tmp_path, FEW[:2])
    recipe.write_text(recipe.read_text().replace("recordings: 1", "recordings: 100"))
    # Minutes of speech, so that its worker is found over it.
    speech, rate = soundfile.read(DEMO / FEW[0], dtype="int16")
    soundfile.write(tmp_path / "in" / GUILTY, np.tile(speech, 400), rate)
    with running(recipe) as build:
        # With the others of its unit, then alone.
        assert [len(hand) for hand in deaths(build, 2)] == [3, 1]
        build.kill(number=signal.SIGKILL)
    with running(recipe) as build:
        assert [len(hand) for hand in deaths(build, 2)] == [1, 1]
        said = build.wait().said
    assert said["recordings"] == {"in": 3, "kept": 2, "set_aside": 1}
    table = aside(tmp_path / "out" / "few" / "versions" / said["version"])
    assert [(row["recording"], row["stage"], row["code"]) for row in table if row["turn"] is None] == [
        (GUILTY, "decode", "killed_the_worker")
    ]


def deaths(build, times):
    """Kill the worker that has the guilty recording in hand, so often; what else was in its hands."""
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


def aside(version):
    import pyarrow.parquet as pq

    return pq.read_table(version / "set_aside.parquet").to_pylist()
