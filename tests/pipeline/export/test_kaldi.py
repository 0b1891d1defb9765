import subprocess

import pytest

from pipeline.export.kaldi import _SortedFile, write_kaldi
from pipeline.export.names import field
from pipeline.export.run import export


@pytest.fixture
def folder(spoken, tmp_path):
    export(spoken, "kaldi", tmp_path, uri="stem")
    return tmp_path


def lines(file):
    return [line.split(" ", 1) for line in file.read_text().splitlines()]


def test_lhotse_reads_the_data_folder(folder, turns):
    kaldi = pytest.importorskip("lhotse.kaldi")
    recordings, supervisions, _ = kaldi.load_kaldi_data_dir(folder, sampling_rate=8000)
    assert len(recordings) == 4, "each channel of the call is a recording"
    assert {recording.duration for recording in recordings} == {21.0}
    read = {
        (s.recording_id, s.start, s.end, s.text, s.language, s.speaker.split("-", 1)[1]) for s in supervisions
    }
    stems = {"one.wav": "one", "texts only.wav": "texts_only"}
    assert read == {
        (
            stems.get(recording, f"Anna_&_王-channel-{row['track'] + 1}"),
            row["start"],
            row["end"],
            row["text"],
            row["language"],
            field(row["speaker"]),
        )
        for recording, rows in turns.items()
        for row in rows
    }


def test_every_file_is_sorted_by_bytes_and_by_speaker(folder):
    names = ("wav.scp", "reco2dur", "segments", "text", "utt2spk", "spk2utt", "utt2lang")
    for name in names:
        rows = (folder / name).read_bytes().splitlines()
        assert rows == sorted(rows)
    utterances = lines(folder / "utt2spk")
    assert utterances == sorted(utterances, key=lambda pair: (pair[1].encode(), pair[0].encode()))
    by_speaker = [pair for speaker, all_of in lines(folder / "spk2utt") for pair in (all_of.split(),)]
    assert [utterance for of_one in by_speaker for utterance in of_one] == [pair[0] for pair in utterances]


def test_a_plain_wav_file_is_named_and_others_are_decoded_in_a_pipe(folder):
    audio = dict(lines(folder / "wav.scp"))
    assert audio["one"].endswith("/in/one.wav")
    assert audio["Anna_&_王-channel-2"].startswith("ffmpeg ")
    assert audio["Anna_&_王-channel-2"].endswith(" |")
    assert "c0=1*c1" in audio["Anna_&_王-channel-2"]
    subprocess.run(["sh", "-n", "-c", audio["Anna_&_王-channel-2"].rstrip("|")], check=True)


def test_more_lines_than_fit_in_memory_are_sorted_too(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.export.kaldi._RUN", 3)
    with _SortedFile(tmp_path / "text") as file:
        for n in range(10):
            file.add(f"{(7 * n) % 10} line")
    assert (tmp_path / "text").read_text().splitlines() == [f"{n} line" for n in range(10)]
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_name_that_is_not_utf_8_keeps_its_bytes(renamed, tmp_path):
    write_kaldi([renamed], tmp_path)
    assert b"/audio/caf\xe9.wav" in (tmp_path / "wav.scp").read_bytes()
