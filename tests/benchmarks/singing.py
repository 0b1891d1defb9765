"""How well `sustained_share` tells song from speech: confusion of a threshold on recordings with labels.

    python tests/benchmarks/singing.py DATA/MANIFEST.jsonl [--songs FOLDER] [--threshold 0.3]

Songs are the manifest's recordings of the kind `singing`, and the WAV files of a folder. All recordings are
measured in pieces of at most 10 s, each as if it were a turn. The recordings are split in two by a hash of
their name (of a song's, where several people sing it): a threshold may be chosen on one half and is then
looked at on the other.
"""

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from pipeline.models import resolve
from stages.quality import QualityConfig
from stages.quality.pitch import PitchTracker
from stages.quality.voice import sustained_share, voiced_share
from stages.stage import SAMPLE_RATE, Samples

SPOKEN = ("utterance", "conversation", "longform", "composed_conversation", "expressive")
PIECE = 10 * SAMPLE_RATE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--songs", type=Path)
    parser.add_argument("--threshold", type=float, default=0.3)
    arguments = parser.parse_args()
    tracker = PitchTracker(resolve(QualityConfig().pitch).path)
    found: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for path, kind, song in recordings(arguments.manifest, arguments.songs):
        half = "ab"[hashlib.sha256(song.encode()).digest()[0] % 2]
        samples = read(path)
        for start in range(0, max(1, len(samples) - SAMPLE_RATE), PIECE):
            hz = tracker.hz(samples[start : start + PIECE])
            share = sustained_share(hz)
            if share is not None and voiced_share(hz) > 0.1:
                found[half, kind].append((share, path.stem))
    for (half, kind), pieces in sorted(found.items()):
        shares = np.array([share for share, _ in pieces])
        sung = int((shares > arguments.threshold).sum())
        tenths = " ".join(f"{value:.2f}" for value in np.quantile(shares, [0.1, 0.5, 0.9, 1.0]))
        count = len({name for _, name in pieces})
        print(f"half {half}  {kind:16} {count:3} recordings, {len(pieces):3} pieces, {sung:3} over", end="")
        print(f" the threshold; tenth, median, nine tenths, most: {tenths}")


def recordings(manifest: Path, songs: Path | None) -> Iterator[tuple[Path, str, str]]:
    """(file, kind, name by which the halves are told apart)."""
    for row in map(json.loads, manifest.open(encoding="utf-8")):
        if row["kind"] in (*SPOKEN, "singing", "rap"):
            kind = "speech" if row["kind"] in SPOKEN else row["kind"]
            kind = "song with guitar" if "guitar" in row["note"] else kind
            yield manifest.parent / row["path"], kind, Path(row["path"]).stem
    for path in sorted(songs.glob("*.wav")) if songs else ():
        # Names such as `S1_Song1_NAME`: several people sing one song.
        yield path, "singing", path.stem.split("_Song1_")[-1]


def read(path: Path) -> Samples:
    """Samples [n] of a file at 16 kHz, its channels mixed."""
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(str(path)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *resampler.resample(None)]])


if __name__ == "__main__":
    main()
