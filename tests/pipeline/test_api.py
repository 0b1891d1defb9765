"""The Python API, without running models."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import aqaa_data
from pipeline import telemetry
from tests.paths import DEMO, FIXTURES

REFERENCE = f"{FIXTURES}/dataset-0.1.0/before"


def test_a_dataset_yields_its_samples():
    dataset = aqaa_data.open_dataset(REFERENCE)
    samples = list(dataset)
    assert len(samples) == sum(dataset.manifest.samples.values())
    assert len({sample.key for sample in samples}) == len(samples)
    for sample in samples:
        assert sample.tokens.dtype == np.int32
        trained = sample.arrays["rejected" if sample.family == "preference" else "loss"]
        assert len(trained) > 0
        assert len(sample.tokens) == len(trained) or sample.family == "preference"
    assert {sample.family for sample in samples} == set(dataset.manifest.samples)
    assert list(dataset.samples("validation")) == []
    with dataset.table("turns") as turns:
        assert turns.count_rows() == dataset.manifest.turns.diarized


def test_a_missing_dataset_is_an_error_that_names_the_others():
    with pytest.raises(aqaa_data.SetupError, match="did you mean before"):
        aqaa_data.open_dataset(f"{FIXTURES}/dataset-0.1.0/befor")


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(DEMO / "monologues" / "LJ002-0020.wav", tmp_path / "in")
    file = tmp_path / "recipe.yaml"
    file.write_text("name: small\ninputs: [in]\noutput: out\nselect: {words_min: 1}\n")
    return file


def test_overrides_replace_what_the_recipe_says(recipe, tmp_path):
    loaded = aqaa_data.load_recipe(
        recipe, "shard.megabytes=7", output=str(tmp_path / "other"), limit_hours=0.5, select={"words_min": 3}
    )
    assert (loaded.shard.megabytes, loaded.select.words_min, loaded.limit_hours) == (7, 3, 0.5)
    assert loaded.output.endswith("/other")
    with pytest.raises(aqaa_data.SetupError, match="did you mean `words_min`"):
        aqaa_data.load_recipe(recipe, select={"word_min": 3})


def test_missing_inputs_are_told_before_anything_is_spoken(tmp_path):
    (tmp_path / "chats.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]}\n'
    )
    file = tmp_path / "recipe.yaml"
    file.write_text("{name: a, inputs: [none], output: out, synthesize: {conversations: [chats.jsonl]}}")
    with pytest.raises(aqaa_data.SetupError, match="none: there is no such file"):
        aqaa_data.plan(aqaa_data.load_recipe(file))
    assert not (tmp_path / "out").exists()


def test_a_plan_lists_units_and_models_and_writes_nothing(recipe, tmp_path):
    planned = aqaa_data.plan(aqaa_data.load_recipe(recipe))
    assert [len(unit.recordings) for unit in planned.units] == [1]
    assert [stage.name for stage in planned.stages] == [
        "decode",
        "diarize",
        "transcribe",
        "quality",
        "tokenize",
    ]
    assert planned.id == aqaa_data.plan(aqaa_data.load_recipe(recipe)).id
    assert not (tmp_path / "out").exists()


def test_an_unreadable_file_is_refused_by_tokenize(tmp_path):
    (result,) = aqaa_data.tokenize([str(tmp_path / "missing.wav")])
    assert result.code == "missing"


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (
            {"temprature": 0.5},
            r"no sampling setting 'temprature' \(did you mean temperature\?\).*"
            "temperature, top_p, seed, max_tokens",
        ),
        ({"beams": 4}, "no sampling setting 'beams'; the settings are temperature, top_p, seed, max_tokens"),
        ({"top_p": 1.5}, "top_p in \\(0, 1]"),
        ({"temperature": "hot"}, "can't sample with these settings"),
    ],
)
def test_wrong_sampling_is_an_error_before_the_checkpoint_is_read(sampling, message):
    with pytest.raises(aqaa_data.SetupError, match=message):
        aqaa_data.answer("no-such-checkpoint", "question.wav", **sampling)


IMPORTS_API = """
import os, sys
import aqaa_data
assert "ray" not in sys.modules and "huggingface_hub" not in sys.modules
print(*(os.environ[name] for name in ("RAY_USAGE_STATS_ENABLED", "HF_HUB_DISABLE_TELEMETRY")))
"""


@pytest.mark.parametrize(("user", "expected"), [({}, "0 1"), ({"RAY_USAGE_STATS_ENABLED": "1"}, "1 1")])
def test_telemetry_is_off_unless_the_user_switched_it_on(user, expected):
    environment = {name: value for name, value in os.environ.items() if name not in telemetry.OFF} | user
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS_API], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == expected.split()


def test_a_checkpoint_answers_in_text_and_tokens(tiny_checkpoint):
    question = str(DEMO / "monologues" / "LJ002-0020.wav")
    reply = aqaa_data.answer(tiny_checkpoint, question, seed=3, max_tokens=24)
    again = aqaa_data.answer(str(tiny_checkpoint), question, seed=3, max_tokens=24)
    assert len(reply.ids) > 0
    assert (reply.text, reply.reason) == (again.text, again.reason)
