"""Peak memory of builds on ten minutes and on two hours of audio, as one recording and as many.

    python tests/benchmarks/memory.py recipe.yaml RECORDING.flac --minutes 10 120

RECORDING is repeated to that length (and written as FLAC), as a single recording and as recordings of five
minutes each (`--as one` or `--as many` for only one of the two).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from resources import PeakMemory

from pipeline.build.run import build
from pipeline.config.recipe import load
from pipeline.planning.plan import make_plan


def record(recording: Path, folder: Path, minutes: float, count: int) -> None:
    """Write `count` recordings of `minutes` each. A function, so that its memory is free before the build."""
    samples, rate = soundfile.read(recording, dtype="float32")
    folder.mkdir()
    for number in range(count):
        soundfile.write(folder / f"{number:03d}.flac", np.resize(samples, round(minutes * 60 * rate)), rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 120])
    parser.add_argument("--as", dest="forms", nargs="+", choices=["one", "many"], default=["one", "many"])
    parser.add_argument("--set", dest="settings", action="append", default=[])
    arguments = parser.parse_args()
    for minutes in arguments.minutes:
        for form in arguments.forms:
            each = minutes if form == "one" else 5.0
            with tempfile.TemporaryDirectory() as folder:
                record(arguments.recording, Path(folder) / "in", each, round(minutes / each))
                settings = [*arguments.settings, f"scratch={folder}/scratch"]
                plan = make_plan(load(arguments.recipe, settings, [f"{folder}/in"], f"{folder}/out"))
                with PeakMemory(every=2) as memory:
                    built = build(plan)
            print(
                f"{minutes:g} minutes as {round(minutes / each)} recordings: {memory.total / 1e9:.2f} GB "
                f"in total, {memory.largest / 1e9:.2f} GB in one process, {built.seconds['total']:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
