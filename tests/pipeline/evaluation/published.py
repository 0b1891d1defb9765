"""Versions published from given annotations of one sentence of a reader."""

import shutil
from dataclasses import replace
from pathlib import Path

from pipeline.versions.reader import Reference, Version, open_version
from tests.paths import DEMO
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import a_turn

MONOLOGUES = DEMO / "monologues"
READER = "LJ002-0020.wav"
"""1.5 s of English."""


def version_of(folder: Path, keep_audio: bool, recordings: int = 1, turns: int = 1) -> Version:
    """A version with copies of the reader's recording and made-up codes.

    Only the first turn has text written by a person.
    """
    (folder / "in").mkdir(parents=True)
    turns_of = {}
    for n in range(recordings):
        name = f"reader-{n}.wav"
        shutil.copy(MONOLOGUES / READER, folder / "in" / name)
        turns_of[name] = [
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
    first = turns_of["reader-0.wav"][0]
    turns_of["reader-0.wav"][0] = replace(first, transcript=replace(first.transcript, source="stm"))
    packed(
        planned(
            folder,
            turns_of,
            compose={"families": ["asr", "tts"]},
            shard={"keep_audio": keep_audio, "validation_share": 0},
        )
    )
    return open_version(Reference.parse(str(folder / "out" / "given")))
