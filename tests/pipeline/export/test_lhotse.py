from dataclasses import replace

import numpy as np
import pytest

from pipeline.export.annotated import AnnotatedRecordings, ExportedRecording
from pipeline.export.lhotse import write_lhotse
from pipeline.export.names import RecordingNames
from pipeline.export.run import export
from schemas.recording import Recording
from tests.stages.annotated import DECODED

lhotse = pytest.importorskip("lhotse")


@pytest.fixture
def folder(spoken, tmp_path):
    export(spoken, "lhotse", tmp_path)
    return tmp_path


def test_lhotse_finds_the_manifests_valid_and_can_load_the_audio(folder):
    from lhotse.qa import validate_recordings_and_supervisions

    recordings = lhotse.RecordingSet.from_file(folder / "recordings.jsonl").to_eager()
    supervisions = lhotse.SupervisionSet.from_file(folder / "supervisions.jsonl").to_eager()
    validate_recordings_and_supervisions(recordings, supervisions, read_data=True)


def test_a_cut_is_a_turn_with_its_audio_words_and_codes(spoken, folder, turns):
    with spoken.table("turns") as table:
        exported = AnnotatedRecordings(spoken).each(table, RecordingNames(table, "path"), None)
        codes = {row["key"]: codes for r in exported for row, codes in zip(r.rows, r.codes, strict=True)}
    rows = {row["key"]: row for rows in turns.values() for row in rows}
    cuts = lhotse.CutSet.from_file(folder / "cuts.jsonl").to_eager()
    assert set(cuts.ids) == rows.keys()
    for cut in cuts:
        lhotse.validate(cut)
        row, [supervision] = rows[cut.id], cut.supervisions
        assert (cut.start, cut.end) == pytest.approx((row["start"], row["end"]))
        assert (supervision.text, supervision.speaker) == (row["text"], row["speaker"])
        assert (supervision.language, supervision.custom["status"]) == (row["language"], row["status"])
        assert (tuple(cut.linguistic), tuple(cut.semantic)) == (
            codes[cut.id].linguistic,
            codes[cut.id].semantic,
        )
        assert cut.load_audio().shape == (1, round((row["end"] - row["start"]) * cut.sampling_rate))
        words = (supervision.alignment or {"word": []})["word"]
        assert [word.symbol for word in words] == [w["text"].strip() for w in row["transcript"]["words"]]
        assert all(word.start >= 0 and word.end <= cut.duration for word in words)


def test_lhotse_makes_shar_of_the_cuts_with_audio_and_codes(folder, tmp_path):
    cuts = {cut.id: cut for cut in lhotse.CutSet.from_file(folder / "cuts.jsonl")}
    shar = tmp_path / "shar"
    shar.mkdir()
    lhotse.CutSet.from_file(folder / "cuts.jsonl").to_shar(shar, fields={"recording": "flac"}, shard_size=3)
    read = list(lhotse.CutSet.from_shar(in_dir=shar))
    assert [cut.id for cut in read] == list(cuts)
    for cut in read:
        original = cuts[cut.id]
        assert (cut.linguistic, cut.semantic) == (original.linguistic, original.semantic)
        assert cut.supervisions[0].text == original.supervisions[0].text
        assert np.allclose(cut.load_audio(), original.load_audio(), atol=1e-4)


def test_a_turn_that_was_cut_from_the_mix_of_two_channels_has_both(tmp_path):
    turn = {
        "key": "turn",
        "start": 1.0,
        "end": 2.0,
        "speaker": "A",
        "track": 0,
        "channel": None,
        "status": "used",
        "code": None,
        "text": "hello",
        "language": "en",
        "transcript": None,
    }
    listed = Recording("a.wav", "s3://bucket/a.wav", 1, "tag", "{}")
    mixed = ExportedRecording("a.wav", listed, replace(DECODED, tracks=1), [turn], [None])
    write_lhotse([mixed], tmp_path)
    [cut] = lhotse.CutSet.from_file(tmp_path / "cuts.jsonl")
    assert isinstance(cut, lhotse.MultiCut)
    assert cut.channel == cut.supervisions[0].channel == [0, 1]
    assert cut.recording.sources[0].type == "url"
