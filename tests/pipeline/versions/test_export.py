import json
import re
from collections import Counter
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyannote.database.util import load_rttm, load_stm

from pipeline.versions.export import FORMATS, export, field, file_name
from pipeline.versions.reader import Reference, each_recording, open_version
from schemas.companions import read
from schemas.text_files import decoded

PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300)


@pytest.fixture
def turns(version):
    with version.table("turns") as table:
        return table.to_table().to_pylist()


def by_recording(rows):
    found = {}
    for row in rows:
        found.setdefault(row["recording"], []).append(row)
    return found


def test_rttm_has_every_turn_as_pyannote_reads_it(version, turns, tmp_path):
    done = export(version, "rttm", tmp_path)
    recordings = by_recording(turns)
    assert (done.recordings, done.turns, done.renamed) == (len(recordings), len(turns), 0)
    assert len(list(tmp_path.iterdir())) == len(recordings)
    for recording, rows in recordings.items():
        name = recording.replace("/", "__")
        [(uri, annotation)] = load_rttm(tmp_path / f"{name}.rttm").items()
        assert uri == name
        read = [
            (segment.start, segment.end, label)
            for segment, _, label in annotation.itertracks(yield_label=True)
        ]
        expected = sorted((row["start"], row["end"], row["speaker"]) for row in rows)
        for (start, end, speaker), row in zip(sorted(read), expected, strict=True):
            assert (start, end) == pytest.approx(row[:2], abs=0.0011)
            assert speaker == row[2]


def test_stm_has_text_and_status_in_the_order_of_sclite(version, turns, tmp_path):
    export(version, "stm", tmp_path)
    for recording, rows in by_recording(turns).items():
        name = recording.replace("/", "__")
        lines = (tmp_path / f"{name}.stm").read_text().splitlines()
        for line, row in zip(lines, rows, strict=True):
            uri, channel, speaker, start, end, label, *words = line.split(" ")
            assert (uri, channel, speaker) == (name, str(row["track"] + 1), row["speaker"])
            assert (float(start), float(end)) == pytest.approx((row["start"], row["end"]), abs=0.0006)
            aside = f"<set_aside,{row['stage']}/{row['code']}>"
            assert label == (aside if row["status"] == "set_aside" else f"<kept,{row['status']}>")
            assert " ".join(words) == " ".join((row["text"] or "").split())


def test_jsonl_has_all_columns_of_a_turn(version, turns, tmp_path):
    export(version, "jsonl", tmp_path)
    for recording, rows in by_recording(turns).items():
        lines = (tmp_path / f"{recording.replace('/', '__')}.jsonl").read_text().splitlines()
        read = [json.loads(line) for line in lines]
        assert [line.pop("kept") for line in read] == [row["status"] != "set_aside" for row in rows]
        assert read == rows


def test_only_kept_turns_on_request(version, turns, tmp_path):
    done = export(version, "stm", tmp_path, kept=True)
    kept = [row for row in turns if row["status"] != "set_aside"]
    assert (done.turns, done.recordings) == (len(kept), len(by_recording(kept)))
    assert all("<kept," in line for path in tmp_path.iterdir() for line in path.read_text().splitlines())


def renamed(dataset: Path, names):
    """The version with its first recordings under other names."""
    path = open_version(Reference.parse(str(dataset))).store.directory
    [file] = path.glob("versions/*/turns.parquet")
    table = pq.read_table(file)
    recordings = table["recording"].to_pylist()
    new = dict(zip(dict.fromkeys(recordings), names, strict=False))
    column = pa.array([new.get(recording, recording) for recording in recordings])
    file.unlink()
    pq.write_table(table.set_column(table.schema.get_field_index("recording"), "recording", column), file)
    return open_version(Reference.parse(str(dataset))), Counter(column.to_pylist())


def test_spaces_stay_in_file_names_and_are_replaced_in_fields(copy, tmp_path):
    version, _ = renamed(copy, ['naïve "name" – 语音 (1).wav'])
    done = export(version, "rttm", tmp_path / "out")
    assert done.renamed == 1
    [uri] = load_rttm(tmp_path / "out" / 'naïve "name" – 语音 (1).wav.rttm')
    assert uri == "naïve_name_–_语音_(1).wav"


def test_recordings_with_the_same_file_name_get_separate_files(copy, tmp_path):
    version, counts = renamed(copy, ["a/b.wav", "a__b.wav", "c__d.wav"])
    export(version, "jsonl", tmp_path / "out")
    lines = {path.name: path.read_text().splitlines() for path in (tmp_path / "out").iterdir()}
    assert "c__d.wav.jsonl" in lines, "a name that no other has stays as it is"
    assert "a__b.wav.jsonl" not in lines
    assert Counter(json.loads(line)["recording"] for found in lines.values() for line in found) == counts
    assert all(len({json.loads(line)["recording"] for line in found}) == 1 for found in lines.values())


@given(PATHS)
def test_any_recording_has_a_file_name(recording):
    for unique in (False, True):
        name = file_name(recording, unique)
        assert "/" not in name
        assert len(f"{name}.jsonl".encode()) <= 255


@given(PATHS, PATHS)
def test_long_names_stay_distinct(one, other):
    if one != other:
        assert file_name(one, unique=True) != file_name(other, unique=True)


@given(PATHS, st.text(max_size=20))
def test_any_name_becomes_a_field_that_readers_accept(name, speaker):
    # What pandas takes for a missing value is one thing that no spelling helps.
    uri, label = f"{field(name)}.wav", f"S{field(speaker)}"
    line = f"SPEAKER {uri} 1 0.000 1.000 <NA> <NA> {label} <NA> <NA>"
    assert len(line.split()) == 10
    [(read, annotation)] = load_rttm(StringIO(f"{line}\n")).items()
    assert (read, annotation.labels()) == (uri, [label])


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 5))
def test_a_recording_is_complete_however_the_rows_are_batched(order, size):
    order.sort()
    table = pa.table({"recording": pa.array(order, pa.string()), "n": range(len(order))})
    batches = ds.dataset(pa.Table.from_batches(table.to_batches(max_chunksize=size), table.schema))
    found = [(recording, rows["n"].to_pylist()) for recording, rows in each_recording(batches)]
    expected = [(name, [n for n, other in enumerate(order) if other == name]) for name in sorted(set(order))]
    assert found == expected


def test_the_command_reports_what_it_wrote(version, turns, small_build, tmp_path, command):
    done = command("export", small_build.dataset, "--format", "rttm", "--to", tmp_path / "new" / "rttm")
    assert re.search(rf"{len(turns)} turns of \d+ recordings", done.stdout)
    done = command("export", small_build.dataset, "--format", "stm", "--to", tmp_path / "stm", "--json")
    assert json.loads(done.stdout)["turns"] == len(turns)
    assert sum(len(load_stm(path)) for path in (tmp_path / "stm").iterdir()) == len(by_recording(turns))


def test_a_folder_that_cannot_be_written_is_one_clear_line(small_build, tmp_path, command):
    (tmp_path / "file").write_text("")
    done = command("export", small_build.dataset, "--format", "rttm", "--to", tmp_path / "file" / "below")
    assert done.code == 1
    assert done.stderr.startswith("aqaa-data: can't write")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("format", ["rttm", "stm", "jsonl"])
def test_what_is_written_can_be_read_back_with_its_channels(version, turns, tmp_path, format):
    export(version, format, tmp_path)
    for recording, rows in by_recording(turns).items():
        name = f"{recording.replace('/', '__')}.{format}"
        annotation = read(format, decoded((tmp_path / name).read_bytes()), name, recording)
        assert (annotation.aside, annotation.notes) == ((), ())
        assert [(s.speaker, s.channel) for s in annotation.segments] == [
            (row["speaker"], str(row["channel"] or 1) if format != "jsonl" else _named(row)) for row in rows
        ]


def _named(row):
    return str(row["channel"]) if row["channel"] else None


def test_the_channel_is_that_of_the_recording_not_the_track():
    row = {"start": 0.0, "end": 1.0, "speaker": "A", "track": 0, "channel": 2, "text": "hi", "status": "used"}
    assert next(FORMATS["rttm"]("#talk", [row])).split()[:3] == ["SPEAKER", "_talk", "2"]
    assert next(FORMATS["stm"]("#talk", [row])).split()[:2] == ["_talk", "2"]
    before = {name: value for name, value in row.items() if name != "channel"} | {"track": 1}
    assert next(FORMATS["rttm"]("talk", [before])).split()[2] == "2", "as versions of earlier releases"
