"""What `select.known_text_error_max` keeps of recordings with their own text, and with that of another.

    python tests/benchmarks/known_text.py DATA/MANIFEST.jsonl [--model REFERENCE]

Transcribes the English gold recordings of one speaker under 30 s, each as one turn. The wrong text is the
next other one in the manifest. Both are looked up as texts of sidecars. The recordings are split in two by a
hash of their name.
"""

import argparse
import hashlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from schemas.recording import Diarization, DiarizeColumn, Recording, Turn, Unit
from stages.decode.config import DecodeConfig
from stages.select.known_text import look_up
from stages.transcribe import TranscribeConfig, TranscribeStage

LIMITS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
KINDS = ("utterance", "hard")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="package:whisper-base")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.manifest.open(encoding="utf-8")]
    rows = [row for row in rows if row["kind"] in KINDS and row["transcript_kind"].startswith("gold")]
    rows = [row for row in rows if row["n_speakers"] == 1 and row["duration_s"] < 30]
    rows = [row for row in rows if row["language"] == "en"]
    config = TranscribeConfig(model=arguments.model, language="en")
    with tempfile.TemporaryDirectory() as folder:
        audio = SpooledAudio(Path(folder), DecodeConfig(), "known_text")
        stage = TranscribeStage(config, audio, {name: resolve(name).path for name in config.models}, 2)
        stage.setup()
        unit = Unit("u", tuple(recording(arguments.manifest.parent, row) for row in rows))
        heard = [done.transcribe.turns[0] for done in stage(unit).recordings]
    rates: dict[str, list[tuple[float, float]]] = {"one": [], "other": []}
    for number, (row, transcript) in enumerate(zip(rows, heard, strict=True)):
        if transcript is None:
            continue
        others = [other["transcript"] for other in (*rows[number:], *rows)]
        wrong_text = next(text for text in others if text != row["transcript"])
        own, wrong = (look_up(transcript.text, text, "en") for text in (row["transcript"], wrong_text))
        half = ("one", "other")[hashlib.sha256(Path(row["path"]).name.encode()).digest()[0] % 2]
        rates[half].append((own.error_rate, wrong.error_rate))
    for half, found in rates.items():
        print(f"\n{half}: {len(found)} recordings\nlimit   own text kept   another's text kept")
        for limit in LIMITS:
            kept = [sum(pair[side] <= limit for pair in found) / len(found) for side in (0, 1)]
            print(f"{limit:5.1f}{kept[0]:14.0%}{kept[1]:19.0%}")


def recording(folder: Path, row: dict[str, Any]) -> Recording:
    path = folder / row["path"]
    turns = (Turn(0.0, row["duration_s"], "A", 0, False),)
    listed = Recording(path.name, str(path), path.stat().st_size, "1", "{}")
    return replace(listed, diarize=DiarizeColumn(Diarization("rttm", (), (), turns)))


if __name__ == "__main__":
    main()
