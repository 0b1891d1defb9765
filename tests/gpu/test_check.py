"""The check of a GPU, run small on the CPU: the same steps, so that the script itself is tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.check.run_step import main as run_step
from tests.gpu.check.setting import at_most
from tests.gpu.check.steps import STEPS
from tests.paths import ROOT

CHECK = [sys.executable, "-m", "tests.gpu.check"]


def check(folder: Path, *arguments: str) -> tuple[int, dict]:
    """Exit code and results of a run."""
    command = [*CHECK, "--device", "cpu", "--tiny", "--output", str(folder), *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False)
    return done.returncode, json.loads((folder / "results.json").read_text())


def test_steps_tell_what_they_found_and_how_they_ended(tmp_path):
    code, results = check(tmp_path, "--minutes", "60", "--steps", "vocoder", "backbone")
    assert code == 0
    assert list(results) == ["machine", "vocoder", "backbone"], "in order of worth"
    assert results["machine"]["gpu"] is False
    assert {step["ended"] for step in (results["vocoder"], results["backbone"])} == {"done"}
    assert results["vocoder"]["tiny_streamed_apart"] < 1e-2
    assert results["backbone"]["llama_equal_argmax_last_quarter"] > 0.8
    assert json.loads((tmp_path / "vocoder.json").read_text()) == results["vocoder"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_steps_run_without_a_gpu(tmp_path):
    code, results = check(tmp_path, "--minutes", "60")
    assert code == 0
    assert {name: facts["ended"] for name, facts in results.items() if name != "machine"} == dict.fromkeys(
        (step.name for step in STEPS), "done"
    )


def test_a_step_that_is_out_of_time_is_stopped_and_the_next_one_runs(tmp_path):
    code, results = check(tmp_path, "--minutes", "0.05", "--steps", "products", "tokenizer")
    assert code == 0, "which is no failure"
    assert results["products"]["ended"].startswith("out of time after 0 s")
    assert results["tokenizer"]["ended"].startswith(("out of time", "can't run: no time is left"))


@pytest.fixture
def step(monkeypatch, tmp_path):
    """Runs a step that yields, or raises, what it is given; returns the facts on disk."""

    def run(*found):
        def measure(setting):
            for item in found:
                if isinstance(item, Exception):
                    raise item
                yield item

        from tests.gpu.check import vocoder

        monkeypatch.setattr(vocoder, "measure", measure)
        run_step("vocoder", "cpu", "tiny", "60", str(tmp_path / "step.json"))
        return json.loads((tmp_path / "step.json").read_text())

    return run


def test_what_was_found_before_a_failure_is_kept(step):
    assert step({"speed": 3}, RuntimeError("CUDA error")) == {
        "speed": 3,
        "ended": "failed: RuntimeError: CUDA error",
    }


def test_a_wrong_result_is_told_and_the_step_goes_on(step):
    assert step(at_most("apart", 0.5, 0.1), at_most("near", 0.01, 0.1), at_most("none", float("nan"), 1)) == {
        "apart": 0.5,
        "near": 0.01,
        "none": pytest.approx(float("nan"), nan_ok=True),
        "wrong": ["apart is 0.5, more than 0.1", "none is nan, more than 1"],
        "ended": "done",
    }


def test_a_step_that_cannot_run_says_why(step):
    from tests.gpu.check.setting import CannotRunError

    assert step(CannotRunError("there is no library")) == {"ended": "can't run: there is no library"}
