"""The ledger: written once, read back column by column."""

from dataclasses import replace

import pytest

from pipeline.ledger.annotations import Ledger
from pipeline.storage.store import Store
from schemas.recording import (
    STAGES,
    Codes,
    DecodeColumn,
    DiarizeColumn,
    Problem,
    QualityColumn,
    Recording,
    TokenizeColumn,
    TranscribeColumn,
)

UNIT = "00ff-12ab"
DONE = Recording(
    "a.wav",
    "file:///in/a.wav",
    5,
    "tag",
    '{"licence": "CC0"}',
    (),
    DecodeColumn(None, (Problem("silent", "it is silent"),)),
    DiarizeColumn(None),
    TranscribeColumn(()),
    QualityColumn(()),
    TokenizeColumn((Codes((1, 2), (3, 4, 5)), None)),
)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Store(str(tmp_path)))


def write_all(ledger, recordings, retry=0):
    for stage in STAGES:
        ledger.write(stage, f"fp-{stage}", UNIT, recordings, retry)


def files(ledger):
    return {stage: ledger.committed(f"fp-{stage}")[UNIT] for stage in STAGES}


def test_a_unit_is_read_back_with_all_columns_and_its_sidecar(ledger):
    write_all(ledger, [DONE, replace(DONE, id="b.wav")])
    assert ledger.recordings(files(ledger)) == [DONE, replace(DONE, id="b.wav")]


def test_a_stage_writes_only_its_own_column(ledger):
    write_all(ledger, [DONE])
    (row,) = ledger.read("tokenize", ledger.committed("fp-tokenize")[UNIT]).values()
    assert set(row) == {"id", "tokenize"}


def test_committed_files_are_never_overwritten(ledger):
    write_all(ledger, [DONE])
    write_all(ledger, [replace(DONE, sidecar="{}", tokenize=TokenizeColumn(()))])
    assert ledger.recordings(files(ledger)) == [DONE]


def test_a_retry_overrides_only_its_own_recordings(ledger):
    other, better = replace(DONE, id="b.wav"), replace(DONE, decode=DecodeColumn(None))
    write_all(ledger, [DONE, other])
    write_all(ledger, [better], retry=1)
    assert ledger.recordings(files(ledger)) == [better, other]


def test_nothing_is_committed_under_another_fingerprint(ledger):
    write_all(ledger, [DONE])
    assert ledger.committed("other") == {}
