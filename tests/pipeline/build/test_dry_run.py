"""The preview of a build: with a limit, everything in it is about the recordings that the limit takes."""

import numpy as np
import pytest
import soundfile

from pipeline.build.dry_run import SHARD_BYTES_PER_SECOND, preview
from pipeline.config.recipe import load
from pipeline.planning.plan import make_plan

RECORDINGS, SECONDS = 40, 3


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "in").mkdir()
    samples = np.zeros(SECONDS * 8000, np.int16)
    for number in range(RECORDINGS):
        soundfile.write(tmp_path / "in" / f"{number:02d}.wav", samples, 8000)
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "name: given\ninputs: [in]\noutput: out\nunits: {recordings: 4}\nshard: {megabytes: 0.01}\n"
    )
    return file


def test_the_text_says_which_stage_runs_where(recipe):
    lines = preview(make_plan(load(recipe, ["resources.transcribe.gpus=0.5"]))).text.splitlines()
    [transcribe], [diarize] = (
        [line for line in lines if line.startswith(f"  {name} ")] for name in ("transcribe", "diarize")
    )
    assert "1 actor on 0.5 GPU and 1 CPU" in transcribe
    assert "1 actor on 2 CPU" in diarize


def facts_of(recipe, limit_hours=None):
    return preview(make_plan(load(recipe, limit_hours=limit_hours))).facts


def test_hours_and_shards_of_a_limited_build_are_those_of_its_recordings(recipe):
    limit = RECORDINGS * SECONDS / 2 / 3600
    facts = facts_of(recipe, limit)
    seconds = facts["recordings"] * SECONDS
    assert 0 < facts["recordings"] < RECORDINGS
    assert facts["limit_hours"] == limit
    assert facts["hours"] == pytest.approx(seconds / 3600, rel=0.02, abs=1e-4)
    assert {work["hours"] for work in facts["work"]} == {facts["hours"]}
    assert facts["expected"]["bytes"] == pytest.approx(seconds * SHARD_BYTES_PER_SECOND, rel=0.02)
    assert facts["expected"]["shards"] == round(facts["expected"]["bytes"] / 10_000)


def test_without_a_limit_everything_is_counted(recipe):
    facts = facts_of(recipe)
    assert facts["recordings"] == RECORDINGS
    assert facts["limit_hours"] is None
    assert facts["hours"] == pytest.approx(RECORDINGS * SECONDS / 3600, rel=0.02)


def test_the_text_names_the_limit_and_one_number_of_hours(recipe):
    text = preview(make_plan(load(recipe, limit_hours=0.02))).text
    assert "limited to 0.02 hours" in text
    assert "0.03 hours" not in text, "the hours of all recordings"
