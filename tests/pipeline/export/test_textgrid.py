from pipeline.export.run import export
from pipeline.export.textgrid import textgrid


def test_the_turns_are_read_back(spoken, turns, tmp_path, read_back):
    export(spoken, "textgrid", tmp_path, uri="stem")
    assert sorted(read_back(tmp_path / "Anna & 王.TextGrid")) == sorted(
        (row["start"], row["end"], row["speaker"], row["text"]) for row in turns["calls/Anna & 王.wav"]
    )


def row(start, end, text, speaker="A"):
    return {"start": start, "end": end, "text": text, "speaker": speaker}


def test_turns_of_a_speaker_that_overlap_are_in_two_tiers_of_the_same_name(tmp_path, read_back):
    rows = [row(0.0, 2.0, 'she said "no"'), row(1.0, 3.0, "and"), row(2.0, 4.5, "then"), row(3.0, 5.0, None)]
    file = tmp_path / "x.TextGrid"
    file.write_text("".join(f"{line}\n" for line in textgrid("x", rows)))
    assert sorted(read_back(file)) == [(r["start"], r["end"], "A", r["text"]) for r in rows[:3]]
    assert file.read_text().count('name = "A"') == 2
    assert "xmax = 5\n" in file.read_text()
