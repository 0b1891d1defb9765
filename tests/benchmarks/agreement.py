"""Word error rate of what is kept, as a function of `select.disagreement_max`.

    python tests/benchmarks/agreement.py DATA/MANIFEST.jsonl [--first REFERENCE] [--second REFERENCE]

Transcribes the English gold recordings under 30 s, each as one turn, with two recognisers. The recordings are
split in two by a hash of their name, so that a threshold chosen on one half can be looked at on the other.
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from schemas.recording import Diarization, DiarizeColumn, Recording, Turn, Unit
from stages.decode.config import DecodeConfig
from stages.transcribe import TranscribeConfig, TranscribeStage
from stages.transcribe.config import RecogniserConfig
from stages.word_errors import Errors, errors

LIMITS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, float("inf"))
KINDS = ("utterance", "hard")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--first", default="package:whisper-base")
    parser.add_argument("--second", default="package:whisper-tiny-en")
    arguments = parser.parse_args()
    config = TranscribeConfig(
        model=arguments.first, second=RecogniserConfig(model=arguments.second), language="en"
    )
    rows = [json.loads(line) for line in arguments.manifest.open(encoding="utf-8")]
    rows = [
        row
        for row in rows
        if row["language"] == "en"
        and row["transcript_kind"] == "gold"
        and row["kind"] in KINDS
        and row["n_speakers"] == 1
        and row["duration_s"] < 30
    ]
    with tempfile.TemporaryDirectory() as folder:
        audio = SpooledAudio(Path(folder), DecodeConfig(), "agreement")
        stage = TranscribeStage(config, audio, {name: resolve(name).path for name in config.models}, 2)
        stage.setup()
        recordings = [recording(arguments.manifest.parent / row["path"], row["duration_s"]) for row in rows]
        done = stage(Unit("u", tuple(recordings))).recordings
    halves: dict[str, list[tuple[float, float, Errors]]] = {"one": [], "other": []}
    for row, each in zip(rows, done, strict=True):
        transcript = each.transcribe.turns[0]
        if transcript is None or transcript.disagreement is None:
            continue
        found = errors("en", row["transcript"], transcript.text)
        half = ("one", "other")[hashlib.sha256(Path(row["path"]).name.encode()).digest()[0] % 2]
        halves[half].append((transcript.disagreement, row["duration_s"], found))
    halves["both"] = halves["one"] + halves["other"]
    for half, items in halves.items():
        print(f"\n{half}: {len(items)} recordings, {sum(s for _, s, _ in items):.0f} s")
        print("disagreement_max   kept recordings   kept time   WER of what is kept")
        for limit in LIMITS:
            kept = [item for item in items if item[0] <= limit]
            if kept:
                share = sum(s for _, s, _ in kept) / sum(s for _, s, _ in items)
                wrong, words = sum(e.wrong for *_, e in kept), sum(e.of for *_, e in kept)
                print(f"{limit:16.2f}{len(kept):18}{share:12.0%}{wrong / words:22.1%}")


def recording(path: Path, seconds: float) -> Recording:
    turns = (Turn(0.0, seconds, "A", 0, False),)
    diarized = DiarizeColumn(Diarization("rttm", (), (), turns))
    return Recording(path.name, str(path), path.stat().st_size, "1", "{}", diarize=diarized)


if __name__ == "__main__":
    main()
