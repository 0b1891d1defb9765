import json
import os

import pytest

from pipeline.export.json_lines import json_line
from pipeline.export.lhotse import write_lhotse
from pipeline.export.nemo import write_nemo


@pytest.mark.parametrize(
    ("write", "name"), [(write_nemo, "manifest.json"), (write_lhotse, "recordings.jsonl")]
)
def test_a_name_that_is_not_utf_8_is_read_back(write, name, renamed, tmp_path):
    write([renamed], tmp_path)
    first = json.loads((tmp_path / name).read_text(encoding="utf-8").splitlines()[0])
    path = first.get("audio_filepath") or first["sources"][0]["source"]
    assert os.fsencode(path) == b"/audio/caf\xe9.wav"


def test_letters_stay_readable():
    assert json_line({"text": "你好"}) == '{"text": "你好"}'
