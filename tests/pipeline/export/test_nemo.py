import json

import soundfile

from pipeline.export.run import export


def test_an_entry_names_the_file_and_the_turn_in_it(spoken, turns, tmp_path):
    export(spoken, "nemo", tmp_path)
    # NeMo reads the manifest this way: a JSON object per line.
    entries = {e["id"]: e for e in map(json.loads, (tmp_path / "manifest.json").read_text().splitlines())}
    rows = {row["key"]: row for rows in turns.values() for row in rows}
    assert entries.keys() == rows.keys()
    for key, entry in entries.items():
        row = rows[key]
        assert soundfile.info(entry["audio_filepath"]).duration >= entry["offset"] + entry["duration"]
        assert entry["audio_filepath"].endswith(row["recording"])
        assert (entry["offset"], entry["offset"] + entry["duration"]) == (row["start"], row["end"])
        assert (entry["text"], entry["speaker"], entry["lang"]) == (
            row["text"],
            row["speaker"],
            row["language"],
        )
        assert entry.get("channel") == (row["track"] if row["recording"].startswith("calls/") else None)
