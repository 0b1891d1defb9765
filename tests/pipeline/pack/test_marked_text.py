"""Samples whose text has marks for what is heard besides words."""

import json
import tarfile

import pytest

from schemas.recording import Word
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import two_who_talk

SAID = (" I", " know", " [laughs]", " that", " you", " live", " here")


def call():
    def each(n):
        start = 5.0 * n
        # Nothing is said from the first to the third second of a turn.
        times = (0.1, 0.5, 0.8, 3.0, 3.3, 3.6, 3.9)
        words = (Word(start + at, start + at + 0.2, text, 0.9) for at, text in zip(times, SAID, strict=True))
        return {"text": "".join(SAID).strip(), "words": words}

    return two_who_talk("call.wav", 2, each)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "I know [laughs] that you live here"),
        ({"marks": True}, "I know [Laughter] [Pause] that you live here"),
    ],
)
def test_marks_are_written_if_they_are_asked_for(tmp_path, settings, text):
    plan = planned(tmp_path, {"call.wav": call()}, compose={"families": ["asr", "tts"], **settings})
    manifest = packed(plan)
    assert (manifest.samples, manifest.turns.set_aside) == ({"asr": 2, "tts": 2}, 0)
    folder = tmp_path / "out" / "given" / "versions" / manifest.version
    written = set()
    for shard in manifest.shards:
        with tarfile.open(folder / shard.path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    record = json.load(tar.extractfile(member))
                    written |= {turn["transcript"]["text"] for turn in record["turns"]}
                    assert text in json.dumps(record["messages"])
    assert written == {text}
