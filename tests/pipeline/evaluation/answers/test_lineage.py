"""Evaluations are named by the version that a checkpoint was trained from, and by its model card."""

import json

import pytest

from pipeline.evaluation.answers.lineage import note
from pipeline.training.lineage import note_origin
from pipeline.versions.gc import uses
from schemas.errors import SetupError
from tests.pipeline.evaluation.published import version_of

RESULTS = {
    "benchmark": {"name": "builtin", "version": "abc"},
    "judge": {"kind": "rules"},
    "code_version": "1",
    "models": {"late": {"answered": 3, "overall": {"rules": {"value": 0.75}, "obeyed": None}}},
}


@pytest.fixture
def trained(tmp_path):
    """A version, and a checkpoint that was trained from it."""
    version = version_of(tmp_path / "data", keep_audio=False)
    checkpoint = tmp_path / "runs" / "late" / "model"
    checkpoint.mkdir(parents=True)
    note_origin(version, checkpoint.parent)
    return version, checkpoint


def about(checkpoint):
    return {"kind": "checkpoint", "place": str(checkpoint), "sha256": "f00"}


def test_versions_show_lists_the_evaluation(trained, tmp_path, command):
    version, checkpoint = trained
    for _ in range(2):  # once, however often the run is repeated
        note(about(checkpoint), RESULTS, "late", tmp_path / "out", print)
    [use] = uses(version.store, version.id)
    assert (use["kind"], use["checkpoint"], use["benchmark"]) == (
        "evaluation",
        str(checkpoint),
        "builtin@abc",
    )
    shown = command("versions", "show", version.store.directory, "--json")
    shown = json.loads(shown.stdout)
    assert (shown["trainings"], [each["run"] for each in shown["evaluations"]]) == ([], [use["run"]])
    assert "judged by rules" in " ".join(command("versions", "show", version.store.directory).stdout.split())


def test_the_model_card_lists_each_evaluation_once_and_keeps_what_others_wrote(trained, tmp_path):
    _, checkpoint = trained
    (checkpoint / "README.md").write_text("# My model\n\nIt is mine.\n")
    for out in ("one", "two", "two"):
        note(about(checkpoint), RESULTS, "late", tmp_path / out, print)
    card = (checkpoint / "README.md").read_text()
    assert card.startswith("# My model\n\nIt is mine.\n")
    rows = [line for line in card.splitlines() if line.startswith("| builtin@abc")]
    assert len(rows) == 2
    assert "| rules | 3 | rules 0.75 |" in rows[0]
    assert (tmp_path / "one").as_uri() in rows[0]


def test_a_merged_checkpoint_comes_from_the_versions_of_its_parts(trained, tmp_path):
    version, part = trained
    merged = tmp_path / "runs" / "merge" / "model"
    merged.mkdir(parents=True)
    record = {"inputs": [{"directory": str(part), "weight": 1.0}]}
    (merged.parent / "run.json").write_text(json.dumps(record))
    note(about(merged), RESULTS, "late", tmp_path / "out", print)
    [use] = uses(version.store, version.id)
    assert use["checkpoint"] == str(merged)


def test_a_version_that_cannot_be_reached_is_told_and_ends_nothing(trained, tmp_path, monkeypatch):
    _, checkpoint = trained

    def refused(store):
        raise SetupError("access denied")

    monkeypatch.setattr("pipeline.evaluation.answers.lineage.version_ids", refused)
    said = []
    note(about(checkpoint), RESULTS, "late", tmp_path / "out", said.append)
    assert "can't be reached: access denied" in said[0]
    assert "builtin@abc" in (checkpoint / "README.md").read_text()


def test_a_server_has_no_card(tmp_path):
    note({"kind": "endpoint", "place": "http://x"}, RESULTS, "late", tmp_path / "out", print)
    assert list(tmp_path.iterdir()) == []
