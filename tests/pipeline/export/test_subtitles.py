import pytest

from pipeline.export.run import export
from pipeline.export.subtitles import srt, vtt
from schemas.recording import UNKNOWN_SPEAKER

ROW = {"start": 3599.9996, "end": 3725.25, "speaker": "A <b> & C", "text": "if a < b &\n b --> c"}


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_the_turns_with_text_are_read_back(spoken, turns, tmp_path, read_back, format):
    export(spoken, format, tmp_path, uri="stem")
    for recording, stem in (("one.wav", "one"), ("calls/Anna & 王.wav", "Anna & 王")):
        arrow = "->" if format == "srt" else "-->"
        assert read_back(tmp_path / f"{stem}.{format}") == [
            (
                row["start"],
                row["end"],
                row["speaker"] if format == "vtt" else UNKNOWN_SPEAKER,
                row["text"].replace("-->", arrow),
            )
            for row in turns[recording]
        ]


def test_times_have_hours_and_a_text_is_one_line():
    assert list(srt("", [ROW, {**ROW, "text": " "}])) == [
        "1\n01:00:00,000 --> 01:02:05,250\nif a < b & b -> c\n"
    ]
    assert list(vtt("", [ROW]))[1] == (
        "01:00:00.000 --> 01:02:05.250\n<v A &lt;b&gt; &amp; C>if a &lt; b &amp; b --&gt; c\n"
    )
