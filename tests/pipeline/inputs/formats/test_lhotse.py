"""lhotse's manifests of files: cuts, and recordings with supervisions."""

import gzip
import json
import tarfile

import pytest

from pipeline.inputs.recording_files import RecordingFiles
from pipeline.inputs.small_files import read_text
from tests.pipeline.inputs.formats.given import ONE, fields, listed, turns, why

RECORDING = {
    "id": "call",
    "sources": [{"type": "file", "channels": [0], "source": "call.wav"}],
    "sampling_rate": 16000,
    "num_samples": 1,
    "duration": 1.0,
    "channel_ids": [0],
}
WORDS = {"word": [["hello", 0.5, 0.4, 0.9], ["there", 0.9, 0.4]]}
SUPERVISIONS = [
    {"id": "1", "recording_id": "call", "start": 0.5, "duration": 1.0, "channel": 0, "text": "hello there"}
    | {"speaker": "A", "language": "en", "alignment": WORDS},
    {"id": "2", "recording_id": "call", "start": 2.0, "duration": 1.0, "channel": 0, "speaker": "B"},
]
TURNS = [(0.5, 1.5, "A", "hello there"), (2.0, 3.0, "B", None)]


def cut(start, *supervisions, **more):
    within = [
        s
        | {"start": s["start"] - start}
        | (
            {"alignment": {"word": [[w[0], w[1] - start, *w[2:]] for w in WORDS["word"]]}}
            if "alignment" in s
            else {}
        )
        for s in supervisions
    ]
    return (
        {"id": f"cut-{start}", "start": start, "duration": 1.0, "channel": 0, "type": "MonoCut"}
        | {
            "supervisions": within,
            "recording": RECORDING,
        }
        | more
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "call.wav").write_bytes(ONE.read_bytes())
    (tmp_path / "lhotse").mkdir()
    return tmp_path / "lhotse"


def write(file, *rows):
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
    return file


def moved(path):
    return RECORDING | {"sources": [{"type": "file", "channels": [0], "source": path}]}


@pytest.mark.parametrize("name", ["recordings.jsonl", "set_recordings_dev.jsonl.gz"])
def test_supervisions_are_turns_of_their_recording(folder, name):
    write(folder / name, moved("../call.wav"))
    spoken = write(folder / name.replace("recordings", "supervisions"), *SUPERVISIONS)
    write(folder / "cuts.jsonl", cut(0.5, SUPERVISIONS[0], recording=moved("../call.wav")))
    for entry in (folder, folder / name, spoken):
        (call,) = listed(entry).values()
        assert turns(call) == TURNS
        assert fields(call) == {"id": "call"}
        assert call.uri == (folder.parent / "call.wav").as_uri()
        ctm = next(c for c in call.companions if c.kind == "ctm")
        assert read_text(ctm.uri, 1000).splitlines() == [
            "recording 1 0.5 0.4 hello 0.9",
            "recording 1 0.9 0.4 there <NA>",
        ]


def test_cuts_of_one_recording_are_its_turns(folder):
    rows = [cut(0.5, SUPERVISIONS[0]), cut(1.5, SUPERVISIONS[1], custom={"snr": 3, "codes": [1]})]
    (folder / "call.wav").write_bytes(b"1")
    (call,) = listed(write(folder / "cuts.jsonl", *rows)).values()
    assert (call.id, turns(call)) == ("call.wav", TURNS)
    assert fields(call) == {"id": "call"}
    ctm = next(c for c in call.companions if c.kind == "ctm")
    assert read_text(ctm.uri, 1000).startswith("recording 1 0.5 0.4 hello 0.9\n")


def test_the_fields_of_a_single_cut_are_the_sidecar(folder):
    (call,) = listed(write(folder / "cuts.jsonl", cut(0.5, SUPERVISIONS[0], custom={"snr": 3}))).values()
    assert fields(call) == {"id": "call", "language": "en", "snr": 3}


def test_what_is_no_file_is_set_aside_by_its_line(folder):
    def source(**fields):
        return RECORDING | {"sources": [{"channels": [0]} | fields]}

    file = write(
        folder / "recordings.jsonl",
        RECORDING,
        source(type="command", source="sph2pipe x |"),
        RECORDING | {"sources": RECORDING["sources"] * 2},
        source(type="memory", source="UklGRg=="),
        RECORDING | {"transforms": [{"name": "Speed"}]},
        RECORDING | {"sources": []},
        "{broken",
    )
    write(folder / "supervisions.jsonl", *SUPERVISIONS, SUPERVISIONS[0] | {"recording_id": "nobody"})
    found = listed(file)
    assert turns(found.pop("call.wav")) == TURNS
    assert {id: why(r)[0] for id, r in found.items()} == {
        "recordings.jsonl:2": "command",
        "recordings.jsonl:3": "several_files",
        "recordings.jsonl:4": "bad_row",
        "recordings.jsonl:5": "transforms",
        "recordings.jsonl:6": "bad_row",
        "recordings.jsonl:7": "bad_json",
        "supervisions.jsonl:3": "bad_row",
    }


def test_cuts_without_a_recording_of_their_own_are_set_aside(folder):
    mixed = {"id": "m", "type": "MixedCut", "tracks": []}
    found = listed(write(folder / "cuts.jsonl", cut(0.5, SUPERVISIONS[0]), mixed))
    assert why(found["cuts.jsonl:2"]) == (
        "bad_row",
        "the MixedCut has no recording of its own, so it is not read",
    )


def test_what_lhotse_writes_is_read(folder):
    lhotse = pytest.importorskip("lhotse")
    recording = lhotse.Recording.from_file(ONE, recording_id="call")
    supervision = lhotse.SupervisionSegment("1", "call", 0.5, 1.0, text="hello", speaker="A")
    lhotse.CutSet.from_manifests(
        lhotse.RecordingSet.from_recordings([recording]), lhotse.SupervisionSet.from_segments([supervision])
    ).to_file(folder / "cuts.jsonl.gz")
    (call,) = listed(folder / "cuts.jsonl.gz").values()
    assert turns(call) == [(0.5, 1.5, "A", "hello")]


def test_a_shar_is_read(folder, tmp_path):
    held = RECORDING | {"sources": [{"type": "shar", "channels": [0], "source": ""}]}
    rows = [
        cut(0, SUPERVISIONS[0], id="c-1", recording=held),
        cut(0, id="c-2", recording=held),
        cut(0, id="no", recording=held),
    ]
    write(folder / "cuts.000003.jsonl.gz", *rows)
    with tarfile.open(folder / "recording.000003.tar", "w") as archive:
        for name in ("c-1", "c-2"):
            archive.add(ONE, f"{name}.wav")
            (tmp_path / "meta.json").write_text(json.dumps(held))
            archive.add(tmp_path / "meta.json", f"{name}.json")
    found = listed(folder)
    one = found.pop("recording.000003.tar/c-1.wav")
    assert turns(one) == TURNS[:1]
    assert turns(found.pop("recording.000003.tar/c-2.wav")) == []
    assert why(found.pop("cuts.000003.jsonl.gz:3"))[0] == "vanished"
    assert not found
    with RecordingFiles().local(one.uri, one.etag, tmp_path) as path:
        assert path.read_bytes() == ONE.read_bytes()


def test_the_shar_that_lhotse_writes_is_read(folder):
    lhotse = pytest.importorskip("lhotse")
    recording = lhotse.Recording.from_file(ONE, recording_id="call")
    supervision = lhotse.SupervisionSegment("1", "call", 0.3, 0.9, channel=0, text="hello", speaker="A")
    cuts = lhotse.CutSet.from_manifests(
        lhotse.RecordingSet.from_recordings([recording]), lhotse.SupervisionSet.from_segments([supervision])
    )
    cuts.to_shar(folder, fields={"recording": "wav"})
    (call,) = listed(folder).values()
    assert turns(call) == [(0.3, 1.2, "A", "hello")]
