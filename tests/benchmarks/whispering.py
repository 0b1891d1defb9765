"""How well the share of speech with a pitch tells whispers from other speech, on recordings with labels.

    python -m tests.benchmarks.whispering DATA/MANIFEST.jsonl SPOKEN [--threshold 0.49]

SPOKEN is a folder of WAV files `VOICE_NUMBER.wav`; those of af_nicole, a voice of Kokoro, and of the variants
`whisper` and `whisperf` of espeak-ng are whispered, and those of other voices aren't. The first 10 s of each
recording are measured, as if they were a turn. The recordings are split in two by a hash of the speaker or of
the file's name (of its number for af_nicole): a threshold may be chosen on one half and is then looked at on
the other.
"""

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.models import resolve
from stages.quality import QualityConfig
from stages.quality.pitch import PitchTracker
from stages.quality.voice import voiced_share
from stages.stage import SAMPLE_RATE
from stages.voice_activity import VoiceActivity
from tests.benchmarks.singing import PIECE, SPOKEN, read

KINDS = (*SPOKEN, "singing", "rap", "hard")
WHISPERED = ("af_nicole", "whisper", "whisperf")
SPEECH_SECONDS_MIN = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("spoken", type=Path)
    parser.add_argument("--threshold", type=float, default=0.49)
    arguments = parser.parse_args()
    models = QualityConfig()
    tracker = PitchTracker(resolve(models.pitch).path)
    activity = VoiceActivity(resolve(models.vad).path)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path, kind, name in recordings(arguments.manifest, arguments.spoken):
        half = "ab"[hashlib.sha256(name.encode()).digest()[0] % 2]
        samples = read(path)[:PIECE]
        speech = sum(end - start for start, end in activity.speech(samples))
        if speech < SPEECH_SECONDS_MIN:
            print(f"{path.name}: no speech is heard")
            continue
        found[half, kind].append(voiced_share(tracker.hz(samples)) / (speech / (len(samples) / SAMPLE_RATE)))
    for (half, kind), shares in sorted(found.items()):
        whispered = sum(share <= arguments.threshold for share in shares)
        least, median, most = np.quantile(shares, [0, 0.5, 1])
        print(
            f"half {half}  {kind:16} {len(shares):3} recordings, {whispered:3} whispered by measure;", end=""
        )
        print(f" least, median, most: {least:.2f} {median:.2f} {most:.2f}")


def recordings(manifest: Path, spoken: Path) -> Iterator[tuple[Path, str, str]]:
    """(file, kind, name by which the halves are told apart)."""
    for row in map(json.loads, manifest.open(encoding="utf-8")):
        if row["kind"] in KINDS and row["duration_s"] < 60:
            yield (
                manifest.parent / row["path"],
                row["kind"],
                str(row.get("speaker") or Path(row["path"]).stem),
            )
    for path in sorted(spoken.glob("*.wav")):
        voice, _, number = path.stem.rpartition("_")
        kind = voice if voice in WHISPERED else "other voices"
        yield path, kind, number if voice == "af_nicole" else path.stem


if __name__ == "__main__":
    main()
