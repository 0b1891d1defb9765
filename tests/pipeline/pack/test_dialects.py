"""Dialects of sidecars, sources and ears: counted, limited in hours and asked for."""

from dataclasses import replace

import pyarrow.parquet as pq

from pipeline.inputs.units import PlannedUnit
from schemas.recording import HeardLabel
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import two_who_talk

SOURCES = {"labels": {"dialect_sources": {"sichuan/": "sichuanese"}}}


def chinese(n):
    return {"language": "zh", "text": f"第{n}句话说得很清楚。"}


def canton(n):
    heard = (HeardLabel("dialect", "yue" if n < 3 else "mandarin", 0.9),)
    return chinese(n) | {"heard": heard, "sidecar": {"dialect": "粤语"}}


def built(tmp_path, **recipe):
    turns = {
        "canton.wav": two_who_talk("canton.wav", 4, canton),
        "sichuan/1.wav": two_who_talk("sichuan/1.wav", 6, chinese),
        "other.wav": two_who_talk("other.wav", 4, chinese),
    }
    manifest = packed(planned(tmp_path, turns, **recipe), with_pages=True)
    return manifest, tmp_path / "out" / "given" / "versions" / manifest.version


def test_turns_and_hours_are_counted_in_manifest_card_report_and_table(tmp_path):
    manifest, version = built(tmp_path, compose=SOURCES | {"families": ["asr"]})
    counts = {name: (dialect.turns, dialect.seconds) for name, dialect in manifest.dialects.items()}
    assert counts == {"cantonese": (3, 13.5), "sichuanese": (6, 27.0)}
    assert manifest.styles == {
        "cantonese/confirmed": 3,
        "cantonese/refused": 1,
        "sichuanese/not_measured": 6,
    }
    assert "| sichuanese | 6 | 27 s |" in (version / "README.md").read_text()
    assert '<td data-label="Dialect">cantonese</td>' in (version / "report.html").read_text()
    rows = pq.read_table(version / "turns.parquet", columns=["recording", "dialect"]).to_pylist()
    assert {row["dialect"] for row in rows if row["recording"] == "other.wav"} == {None}
    assert [row["dialect"] for row in rows if row["recording"] == "canton.wav"] == ["cantonese"] * 3 + [None]


def test_an_input_names_the_dialect_of_its_recordings_and_moves_with_it(tmp_path):
    turns = {"1.wav": two_who_talk("1.wav", 2, chinese)}
    for source, dialect, places_count in (
        (f"{(tmp_path / 'in').as_uri()}/", "sichuanese", True),
        ("s3://sichuan/", None, True),
        ("sichuan/", None, False),
    ):
        plan = planned(tmp_path, turns, compose={"labels": {"dialect_sources": {source: "sichuanese"}}})
        assert packed(plan).dialects.keys() == ({dialect} if dialect else set())
        (unit,) = plan.units
        elsewhere = tuple(replace(recording, uri="s3://sichuan/1.wav") for recording in unit.recordings)
        moved = replace(plan, units=(PlannedUnit(elsewhere),))
        assert (moved.id != plan.id) is places_count
        assert (packed(moved).dialects.keys() != packed(plan).dialects.keys()) is places_count


def test_answers_in_a_dialect_are_asked_for(tmp_path):
    manifest, version = built(tmp_path, compose=SOURCES | {"families": ["dialect"]})
    index = pq.read_table(version / "index.parquet").to_pylist()
    assert {row["recording"] for row in index} == {"canton.wav", "sichuan/1.wav"}
    assert manifest.not_composed["dialect/no_dialect"] > 0


def test_hours_of_a_dialect_are_limited(tmp_path):
    compose, limited = SOURCES | {"families": ["asr"]}, {"dialect_hours_max": 20 / 3600}
    manifest, version = built(tmp_path, compose=compose, mixture=limited)
    assert manifest.dialects["sichuanese"].seconds == 18.0
    assert manifest.set_aside["select/over_dialect_cap"] == 2
    rows = pq.read_table(version / "turns.parquet", columns=["code", "message"]).to_pylist()
    assert "there are 0.00555556 hours of its dialect without it" in {row["message"] for row in rows}
