"""Versions of a reader's one sentence, published from annotations that are given."""

import shutil
from dataclasses import replace
from pathlib import Path

from pipeline.versions.reader import Reference, Version, open_version
from tests.paths import DEMO
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import a_turn

MONOLOGUES = DEMO / "monologues"
READER = "LJ002-0020.wav"
"""1.5 s of English, whose text is known."""


def version_of(folder: Path, keep_audio: bool, recordings: int = 1, turns: int = 1) -> Version:
    """A version whose turns are those of a reader, with codes that nobody computed; only the first one's text
    was written by somebody."""
    (folder / "in").mkdir(parents=True)
    said = {}
    for n in range(recordings):
        name = f"reader-{n}.wav"
        shutil.copy(MONOLOGUES / READER, folder / "in" / name)
        own = [
            a_turn(
                start=0.1 + i / 50,
                end=1.5,
                index=i,
                groups=12 + i,
                recording=name,
                text="in eighteen thirteen",
            )
            for i in range(turns)
        ]
        said[name] = own
    first = said["reader-0.wav"][0]
    said["reader-0.wav"][0] = replace(first, transcript=replace(first.transcript, source="stm"))
    packed(
        planned(
            folder,
            said,
            compose={"families": ["asr", "tts"]},
            shard={"keep_audio": keep_audio, "validation_share": 0},
        )
    )
    return open_version(Reference.parse(str(folder / "out" / "given")))
