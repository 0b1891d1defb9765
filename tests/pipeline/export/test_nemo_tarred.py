import json
import tarfile
from io import BytesIO

import pytest
import soundfile

from pipeline.export import nemo_tarred, parts
from pipeline.export.run import export


def test_every_turn_is_a_member_of_the_tar_that_its_entry_names(spoken, turns, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "SECONDS", 5)
    export(spoken, "nemo-tarred", tmp_path)
    entries = [json.loads(line) for line in (tmp_path / nemo_tarred.MANIFEST).read_text().splitlines()]
    rows = {f"{row['key']}.flac": row for rows in turns.values() for row in rows}
    assert {entry["audio_filepath"] for entry in entries} == rows.keys()
    shards = {entry["shard_id"] for entry in entries}
    assert shards == set(range(len(shards)))
    assert len(shards) > 1
    for shard in shards:
        own = [entry for entry in entries if entry["shard_id"] == shard]
        with tarfile.open(tmp_path / f"audio_{shard}.tar") as tar:
            assert tar.getnames() == [entry["audio_filepath"] for entry in own]
            for entry in own:
                row = rows[entry["audio_filepath"]]
                sound, rate = soundfile.read(BytesIO(tar.extractfile(entry["audio_filepath"]).read()))
                assert len(sound) / rate == pytest.approx(entry["duration"], abs=1e-3)
                assert entry["duration"] == pytest.approx(row["end"] - row["start"], abs=1e-6)
                assert entry["text"] == (row["text"] or "")
