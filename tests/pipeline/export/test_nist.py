import pytest
from pyannote.database.util import load_rttm, load_stm

from pipeline.export.names import field, file_name
from pipeline.export.nist import rttm, stm
from pipeline.export.run import export


def test_pyannote_reads_every_turn_of_rttm(spoken, turns, tmp_path):
    export(spoken, "rttm", tmp_path)
    for recording, rows in turns.items():
        name = file_name(recording)
        [(uri, annotation)] = load_rttm(tmp_path / f"{name}.rttm").items()
        assert uri == field(name)
        read = [(s.start, s.end, label) for s, _, label in annotation.itertracks(yield_label=True)]
        expected = sorted((row["start"], row["end"], field(row["speaker"])) for row in rows)
        for (start, end, speaker), row in zip(sorted(read), expected, strict=True):
            assert (start, end) == pytest.approx(row[:2], abs=0.0011)
            assert speaker == row[2]


def test_stm_has_text_and_status_in_the_order_of_sclite(spoken, turns, tmp_path):
    export(spoken, "stm", tmp_path)
    for recording, rows in turns.items():
        name = file_name(recording)
        assert load_stm(tmp_path / f"{name}.stm")
        lines = (tmp_path / f"{name}.stm").read_text().splitlines()
        for line, row in zip(lines, rows, strict=True):
            uri, channel, speaker, start, end, label, *words = line.split(" ")
            assert (uri, channel, speaker) == (field(name), str(row["track"] + 1), field(row["speaker"]))
            assert (float(start), float(end)) == pytest.approx((row["start"], row["end"]), abs=0.0006)
            aside = f"<set_aside,{row['stage']}/{row['code']}>"
            assert label == (aside if row["status"] == "set_aside" else f"<kept,{row['status']}>")
            assert " ".join(words) == " ".join((row["text"] or "").split())


def test_lhotse_aligns_the_words_of_ctm_with_the_turns(spoken, turns, tmp_path):
    lhotse = pytest.importorskip("lhotse")
    export(spoken, "ctm", tmp_path / "ctm", uri="stem")
    export(spoken, "lhotse", tmp_path / "lhotse", uri="stem")
    supervisions = lhotse.SupervisionSet.from_file(tmp_path / "lhotse" / "supervisions.jsonl").to_eager()
    aligned = supervisions.with_alignment_from_ctm(tmp_path / "ctm" / "one.ctm")
    for row in turns["one.wav"]:
        words = aligned[row["key"]].alignment["word"]
        assert [word.symbol for word in words] == row["text"].split()
        expected = [word["start"] for word in row["transcript"]["words"]]
        assert [word.start for word in words] == pytest.approx(expected, abs=0.0006)


def test_the_channel_is_that_of_the_recording_not_the_track():
    row = {"start": 0.0, "end": 1.0, "speaker": "A", "track": 0, "channel": 2, "text": "hi", "status": "used"}
    assert next(rttm("#talk", [row])).split()[:3] == ["SPEAKER", "_talk", "2"]
    assert next(stm("#talk", [row])).split()[:2] == ["_talk", "2"]
    before = {name: value for name, value in row.items() if name != "channel"} | {"track": 1}
    assert next(rttm("talk", [before])).split()[2] == "2", "as versions of earlier releases"
