"""The plan of a build: what its id depends on, and how much audio it has."""

import os

import numpy as np
import pytest
import soundfile

from pipeline.config.recipe import load
from pipeline.planning.plan import make_plan
from schemas.errors import SetupError

RECORDINGS, SECONDS = 12, 2


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(RECORDINGS):
        path = tmp_path / "in" / f"{number:02d}.wav"
        soundfile.write(path, np.zeros(SECONDS * 8000, np.int16), 8000)
        os.utime(path, (1, 1))
    file = tmp_path / "recipe.yaml"
    file.write_text("name: given\ninputs: [in]\noutput: out\nunits: {recordings: 2}\n")
    return file


def plan_of(recipe, *settings, **options):
    return make_plan(load(recipe, settings, **options))


def test_the_id_depends_on_content_and_settings_but_not_on_paths_or_resources(recipe, tmp_path):
    plan = plan_of(recipe)
    same = ("resources.decode.cpus=2", f"output={tmp_path}/elsewhere", f"scratch={tmp_path}/scratch")
    assert plan_of(recipe, *same).id == plan.id
    assert plan_of(recipe, "select.words_min=3").id != plan.id
    os.utime(tmp_path / "in" / "03.wav", (2, 2))
    assert plan_of(recipe).id != plan.id


def test_a_setting_changes_the_fingerprints_of_its_stage_and_of_those_after_it(recipe):
    before, after = plan_of(recipe), plan_of(recipe, "transcribe.beam=2")
    changed = [
        a.name for a, b in zip(before.stages, after.stages, strict=True) if a.fingerprint != b.fingerprint
    ]
    assert changed == ["transcribe", "quality", "tokenize"]


def test_transcribe_runs_on_the_gpu_that_is_reserved_for_it(recipe):
    def device(*settings):
        [stage] = [stage for stage in plan_of(recipe, *settings).stages if stage.name == "transcribe"]
        return stage.config.device, stage.config.precision

    reserved = "resources.transcribe.gpus=0.5"
    assert device() == ("cpu", "int8")
    assert device(reserved) == ("cuda", "float16")
    assert device(reserved, "transcribe.compute_type=int8_float16") == ("cuda", "int8_float16")


def test_a_device_that_only_rounds_otherwise_runs_nothing_again(recipe):
    reserved = [f"resources.{stage}.gpus=0.25" for stage in ("diarize", "quality", "tokenize")]
    devices = [f"{stage}.device=cuda" for stage in ("diarize", "quality", "tokenize")]
    before, after = plan_of(recipe), plan_of(recipe, *reserved, *devices)
    assert after.id == before.id
    assert [stage.fingerprint for stage in after.stages] == [stage.fingerprint for stage in before.stages]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["resources.transcribe.gpus=0.5", "transcribe.device=cpu"], "leaves the GPU idle"),
        (["transcribe.device=cuda"], r"needs a GPU: set `resources\.transcribe\.gpus`"),
        (["resources.quality.gpus=0.1", "quality.device=cpu"], r"`resources\.quality\.gpus: 0\.1` reserves"),
        (
            ["select.heard={sound: [Speech]}"],
            r"names the ear sound, and `quality\.ears` has none: add it there",
        ),
        (["diarize.device=cuda"], r"needs a GPU: set `resources\.diarize\.gpus`"),
        (["tokenize.device=cuda"], r"needs a GPU: set `resources\.tokenize\.gpus`"),
        (["resources.decode.gpus=1"], "decode has no use for a GPU"),
        (["transcribe.second={device: cuda}"], r"`transcribe\.second\.device: cuda` needs a GPU"),
    ],
)
def test_a_device_that_contradicts_what_is_reserved_is_refused(recipe, settings, told):
    with pytest.raises(SetupError, match=told):
        plan_of(recipe, *settings)


def test_seconds_are_those_of_the_units_that_a_limit_takes(recipe):
    assert plan_of(recipe).seconds == pytest.approx(RECORDINGS * SECONDS, rel=0.02)
    plan = plan_of(recipe, limit_hours=RECORDINGS * SECONDS / 2 / 3600)
    taken = sum(len(unit.recordings) for unit in plan.units)
    assert 0 < taken < RECORDINGS
    assert plan.seconds == pytest.approx(taken * SECONDS, rel=0.02)


def test_a_missing_file_of_evaluation_prompts_is_reported(recipe):
    with pytest.raises(SetupError, match=r"evaluation prompts: no such file: .*prompts\.jsonl"):
        plan_of(recipe, "select.evaluation_prompts=[prompts.jsonl]")
