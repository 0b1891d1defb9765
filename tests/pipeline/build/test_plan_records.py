"""Which version a plan was published as, through retries and removals."""

import json
from dataclasses import replace

import pytest

from pipeline.build.plan_records import published_as, record_published
from pipeline.build.run import build
from pipeline.config.recipe import load
from pipeline.ledger.annotations import Ledger
from pipeline.planning.plan import make_plan
from pipeline.versions.forget import purge
from pipeline.versions.gc import collect
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import two_who_talk


@pytest.fixture
def plan(tmp_path):
    talk = two_who_talk("a.wav", 4, lambda n: {"text": f"the train leaves at nine from platform {n}"})
    return planned(tmp_path, {"a.wav": talk})


def publish_manifest(plan, version):
    plan.dataset.put_new(f"versions/{version}/manifest.json", b"{}")
    record_published(plan, version)


def records(plan):
    return sorted(item.path for item in plan.dataset.list("plans"))


def test_a_plan_that_was_never_published_has_no_version(plan):
    assert published_as(plan) is None


def test_the_newest_version_of_a_plan_is_named_after_a_retry(plan, tmp_path):
    first = packed(plan)
    assert published_as(plan) == first.version
    retry_without_a_turn(plan)
    second = packed(plan)
    assert second.version != first.version
    again = make_plan(load(tmp_path / "recipe.yaml"))
    assert again.id == plan.id
    assert published_as(again) == second.version
    built = build(again)
    assert (built.status, built.manifest.version) == ("nothing new", second.version)


def retry_without_a_turn(plan):
    """Commit a retry overlay, in which the recording has one turn less."""
    ledger = Ledger(plan.dataset)
    committed = plan.committed()
    [unit] = plan.units
    files = {stage: paths[unit.name] for stage, paths in committed.items()}
    [recording] = ledger.recordings(files)
    shorter = without_last_turn(recording)
    for stage in plan.stages:
        ledger.write(stage.name, stage.fingerprint, unit.name, [shorter], retry=1)


def without_last_turn(recording):
    result = recording.diarize.result
    return replace(
        recording,
        diarize=replace(recording.diarize, result=replace(result, turns=result.turns[:-1])),
        transcribe=replace(recording.transcribe, turns=recording.transcribe.turns[:-1]),
        quality=replace(recording.quality, turns=recording.quality.turns[:-1]),
        tokenize=replace(recording.tokenize, turns=recording.tokenize.turns[:-1]),
    )


def test_records_are_numbered_and_never_overwritten(plan):
    for version in ("a" * 16, "b" * 16, "b" * 16, "a" * 16):
        publish_manifest(plan, version)
        assert published_as(plan) == version
    assert records(plan) == [f"plans/{plan.id}/{n}.json" for n in (1, 2, 3)]


def test_the_tenth_record_is_newer_than_the_ninth(plan):
    for number in range(10):
        publish_manifest(plan, f"{number:016x}")
    assert published_as(plan) == f"{9:016x}"


def test_a_single_file_of_an_earlier_release_is_read_and_outnumbered(plan):
    version = "a" * 16
    plan.dataset.put_new(f"plans/{plan.id}.json", json.dumps({"version": version}).encode())
    plan.dataset.put_new(f"versions/{version}/manifest.json", b"{}")
    assert published_as(plan) == version
    record_published(plan, version)
    assert records(plan) == [f"plans/{plan.id}.json"]
    publish_manifest(plan, "b" * 16)
    assert published_as(plan) == "b" * 16


def test_a_version_that_was_removed_is_not_named(plan):
    first, second = "a" * 16, "b" * 16
    publish_manifest(plan, first)
    publish_manifest(plan, second)
    plan.dataset.delete([f"versions/{second}/manifest.json"])
    assert published_as(plan) == first
    plan.dataset.delete([f"versions/{first}/manifest.json"])
    assert published_as(plan) is None


def test_records_go_with_their_versions(plan):
    first = packed(plan)
    retry_without_a_turn(plan)
    second = packed(plan)
    collect(plan.dataset, days=-1)
    assert records(plan) == [f"plans/{plan.id}/2.json"], f"{first.version} is gone, {second.version} is not"
    plan.dataset.delete([item.path for item in plan.dataset.list("refs")])
    purge(plan.dataset, ["a.wav"])
    assert records(plan) == []
