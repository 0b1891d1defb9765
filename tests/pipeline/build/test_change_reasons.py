"""What runs again when recordings, sidecars or settings change, and what a dry run reports about it."""

import json
import os
import shutil

import pytest

from pipeline.annotate.run import pending
from pipeline.build.change_reasons import changes_of, work_of
from pipeline.config.recipe import load
from pipeline.planning.plan import make_plan
from pipeline.versions.reader import version_at
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import two_who_talk

NAMES = [f"{n:02d}.wav" for n in range(12)]
UNITS = {"units": {"recordings": 2}}


def talk(name, **more):
    text = f"the train leaves at nine from platform {name}"
    return two_who_talk(name, 4, lambda n: {"text": f"{text} {n}", **more})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a published version of twelve recordings in several units."""
    folder = tmp_path_factory.mktemp("built")
    plan = planned(folder, {name: talk(name, sidecar={"licence": "CC0"}) for name in NAMES}, **UNITS)
    assert len(plan.units) > 3
    packed(plan)
    return folder


@pytest.fixture
def dataset(built, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(built, tmp_path / "copy")


def plan_of(folder, *settings):
    return make_plan(load(folder / "recipe.yaml", settings))


def to_run(plan):
    """Stage -> names of the recordings in the units that it has to run."""
    done = plan.committed()
    return {
        stage.name: {r.id for u in plan.units if u.name not in done[stage.name] for r in u.recordings}
        for stage in plan.stages
    }


def edit(folder, name, sidecar):
    path = folder / "in" / f"{name}.json"
    path.write_text(sidecar)
    os.utime(path, (1, len(sidecar)))


def records(plan, manifest):
    with version_at(plan.dataset, manifest.version).table("set_aside") as table:
        return {row["recording"]: row["code"] for row in table.to_table().to_pylist() if row["turn"] is None}


def test_an_edited_sidecar_runs_no_model_and_is_in_the_next_version(dataset):
    edit(dataset, "03.wav", json.dumps({"licence": "restricted"}))
    plan = plan_of(dataset)
    assert pending(plan, retry=False) == []
    assert changes_of(plan).sidecars == 1
    manifest = packed(plan)
    assert manifest.licences == {"CC0": 11, "restricted": 1}


def test_added_and_removed_sidecars_take_effect_too(dataset):
    (dataset / "in" / "03.wav.json").unlink()
    plan = plan_of(dataset)
    assert pending(plan, retry=False) == []
    assert packed(plan).licences == {"CC0": 11, "not stated": 1}
    edit(dataset, "03.wav", '{"licence": "CC-BY"}')
    assert packed(plan_of(dataset)).licences == {"CC-BY": 1, "CC0": 11}


@pytest.mark.parametrize(
    "text", ["{consent: no", "[1]", "\udcff", "[" * 100_000, '"' + "x" * 2_000_000 + '"']
)
def test_a_sidecar_that_cannot_be_used_sets_its_recording_aside_until_it_is_fixed(dataset, text):
    path = dataset / "in" / "03.wav.json"
    path.write_text(text, errors="surrogateescape")
    plan = plan_of(dataset)
    assert records(plan, packed(plan)) == {"03.wav": "bad_sidecar"}
    edit(dataset, "03.wav", '{"licence": "CC0"}')
    plan = plan_of(dataset)
    assert pending(plan, retry=False) == []
    assert records(plan, packed(plan)) == {}


def test_the_sidecars_of_a_version_are_kept_in_the_ledger(dataset):
    plan = plan_of(dataset)
    kept = [path for path in packed(plan).ledgers if path.startswith("annotations/sidecars/")]
    assert len(kept) == len(plan.units)
    assert all(plan.dataset.exists(path) for path in kept)


def test_added_changed_and_removed_recordings_run_only_their_units(dataset):
    (dataset / "in" / "99.wav").write_bytes(b"new")
    (dataset / "in" / "04.wav").write_bytes(b"other")
    (dataset / "in" / "08.wav").unlink()
    (dataset / "in" / "08.wav.json").unlink()
    plan = plan_of(dataset)
    run = to_run(plan)
    assert len({frozenset(names) for names in run.values()}) == 1
    assert {"99.wav", "04.wav"} <= run["decode"]
    neighbours = {
        r.id
        for unit in plan.units
        for r in unit.recordings
        if {"99.wav", "04.wav", "07.wav", "09.wav"} & {r.id for r in unit.recordings}
    }
    assert run["decode"] <= neighbours
    changes = changes_of(plan)
    assert (changes.added, changes.changed, changes.removed, changes.sidecars) == (1, 1, 1, 0)
    assert {work.why for work in work_of(plan)[:-1]} == {"new or changed recordings"}


@pytest.mark.parametrize(
    ("setting", "first", "why"),
    [
        ("decode.channels=split", "decode", "decode.channels: auto -> split"),
        ("transcribe.beam=2", "transcribe", "transcribe.beam: 5 -> 2"),
    ],
)
def test_a_setting_runs_its_stage_and_those_after_it(dataset, setting, first, why):
    plan = plan_of(dataset, setting)
    run = to_run(plan)
    after = list(run)[list(run).index(first) :]
    assert {stage for stage, names in run.items() if names} == set(after)
    assert all(names == set(NAMES) for stage, names in run.items() if stage in after)
    work = work_of(plan)
    assert [one.stage for one in work] == [*after, "pack"]
    assert work[0].why == why
    assert {one.why for one in work[1:-1]} <= {f"it comes after {first}"}


def test_a_threshold_runs_pack_alone(dataset):
    (work,) = work_of(plan_of(dataset, "select.words_min=3"))
    assert work.stage == "pack"
    assert work.why.startswith("select.words_min: ")


def test_a_first_build_reports_that_nothing_is_annotated_yet(dataset):
    plan = plan_of(dataset, f"output={dataset}/new")
    assert changes_of(plan) is None
    assert [(one.stage, one.why) for one in work_of(plan)[:2]] == [
        ("decode", "not annotated yet"),
        ("diarize", "not annotated yet"),
    ]


def test_a_dry_run_reports_what_will_run_and_why(dataset, command):
    (dataset / "in" / "04.wav").write_bytes(b"other")
    edit(dataset, "09.wav", '{"licence": "CC-BY"}')
    settings = ["--set", "transcribe.beam=2"]
    done = command("build", dataset / "recipe.yaml", "--dry-run", *settings)
    assert done.code == 0, done.stderr
    assert "0 added, 1 changed, 0 removed; sidecars of 1 units edited" in done.stdout
    assert "to run      transcribe: " in done.stdout
    assert "transcribe.beam: 5 -> 2" in done.stdout
    assert "quality: " in done.stdout
    assert "it comes after transcribe" in done.stdout
    said = json.loads(command("build", dataset / "recipe.yaml", "--dry-run", "--json", *settings).stdout)
    assert [work["stage"] for work in said["work"]][-1] == "pack"
    assert said["work"][0] | {"hours": 0} == {
        "stage": "decode",
        "units": 1,
        "recordings": said["work"][0]["recordings"],
        "hours": 0,
        "why": "new or changed recordings",
    }
