import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from pipeline.export import parts
from pipeline.export.run import export
from schemas.errors import SetupError


@pytest.fixture
def folder(spoken, tmp_path):
    export(spoken, "hf", tmp_path / "hf")
    return tmp_path / "hf"


@pytest.mark.parametrize("streaming", [True, False])
def test_datasets_opens_the_folder_with_text_codes_and_audio(folder, turns, tmp_path, streaming):
    datasets = pytest.importorskip("datasets", minversion="5")
    read = datasets.load_dataset(
        str(folder), split="train", streaming=streaming, cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(read.features["audio"], datasets.Audio)
    rows = {row["key"]: row for rows in turns.values() for row in rows}
    found = {row["id"]: row for row in read.cast_column("audio", datasets.Audio(decode=False))}
    assert found.keys() == rows.keys()
    for key, row in found.items():
        expected = {
            name: rows[key][name] for name in ("start", "end", "speaker", "language", "text", "status")
        }
        assert {name: row[name] for name in expected} == expected
        assert (len(row["linguistic"]), len(row["semantic"])) == (
            rows[key]["linguistic_codes"],
            rows[key]["semantic_codes"],
        )
        samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
        assert len(samples) / rate == pytest.approx(row["end"] - row["start"])
        assert rate == 16_000


def test_the_audio_is_that_of_the_turns_channel(folder, dataset):
    [file] = (folder / "data").iterdir()
    rows = [row for row in pq.read_table(file).to_pylist() if row["recording"].startswith("calls")]
    whole, rate = soundfile.read(dataset.parents[1] / "in" / "calls" / "Anna & 王.wav")
    for row, channel in zip(rows, (0, 1, 0, 1), strict=True):
        samples, _ = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
        original = whole[round(row["start"] * rate) : round(row["end"] * rate)]
        alike = [abs(np.corrcoef(samples[::2], original[:, c])[0, 1]) for c in (0, 1)]
        assert np.argmax(alike) == channel
        assert max(alike) > 0.8


def test_files_have_a_limited_size(spoken, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "SECONDS", 5)
    export(spoken, "hf", tmp_path / "hf")
    files = sorted((tmp_path / "hf" / "data").iterdir())
    assert [file.name for file in files] == [f"turns-{n:05d}.parquet" for n in range(len(files))]
    assert len(files) > 1
    assert sum(pq.read_metadata(file).num_rows for file in files) == 8


def test_a_recording_that_is_gone_is_named_with_a_remedy(spoken, dataset, tmp_path):
    file = dataset.parents[1] / "in" / "one.wav"
    content = file.read_bytes()
    file.unlink()
    try:
        with pytest.raises(SetupError, match=r"one\.wav: .*export a format without audio"):
            export(spoken, "hf", tmp_path / "hf")
    finally:
        file.write_bytes(content)


def test_litdata_streams_the_same_rows(spoken, tmp_path):
    litdata = pytest.importorskip("litdata")
    loader = pytest.importorskip("litdata.streaming.item_loader")
    export(spoken, "hf", tmp_path)
    rows = pq.read_table(tmp_path / "data").to_pylist()
    folder = str(tmp_path / "data")
    litdata.index_parquet_dataset(folder)
    read = litdata.StreamingDataset(folder, item_loader=loader.ParquetLoader(), shuffle=False)
    assert [row["id"] for row in read] == [row["id"] for row in rows]
    assert list(read[0]["semantic"]) == rows[0]["semantic"]
