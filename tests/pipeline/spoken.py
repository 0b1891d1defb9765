"""A version that is packed from given annotations of real audio files: seconds to make, without any model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from pipeline.versions.reader import Reference, Version, open_version
from schemas.recording import Word
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import DECODED, a_turn, two_who_talk

RATE, SECONDS = 8000, 21
MONOLOGUE, CALL, SILENT = "one.wav", "calls/Anna & 王.wav", "texts only.wav"
"""A mono recording, a stereo recording with a speaker on each channel and awkward names, and one whose only
turn was set aside."""

STEREO = replace(DECODED, seconds=float(SECONDS), track_channels=(0, 1))
MONO = replace(
    DECODED, seconds=float(SECONDS), channels=1, tracks=1, channel_mode="mono", track_channels=(0,)
)


def spoken_version(folder: Path) -> Version:
    """A version with audio that can be cut, words with times, preferences and rows of text."""
    (folder / "in" / "calls").mkdir(parents=True)
    for name, channels in ((MONOLOGUE, 1), (CALL, 2), (SILENT, 1)):
        noise = np.random.default_rng(len(name)).uniform(-0.3, 0.3, (SECONDS * RATE, channels))
        soundfile.write(folder / "in" / name, noise, RATE, subtype="PCM_16")
    (folder / "texts.jsonl").write_text(
        '{"text": "Ships sail on the sea every day."}\n{"text": "And home."}\n'
    )
    families = ["continuation", "asr", "tts", "aqta", "aqtaa", "replay"]
    plan = planned(
        folder,
        {MONOLOGUE: monologue(), CALL: call(), SILENT: [aside()]},
        texts=["texts.jsonl"],
        compose={"families": families, "continuation_seconds_min": 2},
        preferences={"contrast": {"deaf": 1}},
        decode={"channels": "split"},
        shard={"keep_audio": True, "validation_share": 0.0, "split_by": []},
    )
    packed(plan, with_pages=True)
    return open_version(Reference.parse(str(folder / "out" / "given")))


def monologue():
    """Three turns, each with the times of its words."""

    def each(n):
        text = f"This is sentence {n} of a monologue"
        words = tuple(
            Word(5.0 * n + 0.5 * k, 5.0 * n + 0.5 * k + 0.4, f" {word}", 0.9)
            for k, word in enumerate(text.split())
        )
        return {"text": text, "words": words, "groups": 37}

    turns = two_who_talk(MONOLOGUE, 3, each)
    return [replace(turn, decoded=MONO, turn=replace(turn.turn, speaker="reader")) for turn in turns]


def call():
    """Four turns of two speakers, the second of whom says something in Chinese."""

    def each(n):
        text, language = (
            ("你好，我是王。", "zh") if n == 1 else (f"The train {n} leaves at nine --> soon", "en")
        )
        return {"text": text, "language": language, "groups": 37, "track": n % 2}

    turns = two_who_talk(CALL, 4, each)
    return [
        replace(turn, decoded=STEREO, turn=replace(turn.turn, speaker=("Anna Lee", "王")[n % 2]))
        for n, turn in enumerate(turns)
    ]


def aside():
    return replace(a_turn(recording=SILENT, overlapped=True), decoded=MONO)
