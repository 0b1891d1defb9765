"""How fast `aqaa-data export` writes each format, and how fast inputs in these formats are listed.

python tests/benchmarks/formats.py DATASET FOLDER

DATASET is a reference to a dataset with its annotations and recordings; FOLDER is new. Where lhotse or
Hugging Face `datasets` is installed, it reads the same files in the same run. Seconds are CPU seconds of this
process, so that other work on the machine matters less.
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.export.run import FORMATS, export
from pipeline.inputs.listing import list_inputs
from pipeline.versions.reader import Reference, Version, open_version


def lhotse_kaldi(folder: Path) -> Iterable[object]:
    from lhotse.kaldi import load_kaldi_data_dir

    _, supervisions, _ = load_kaldi_data_dir(folder, 16_000)
    return supervisions or ()


def lhotse_cuts(folder: Path) -> Iterable[object]:
    from lhotse import CutSet

    return CutSet.from_jsonl_lazy(folder / "cuts.jsonl")


def hugging_face(folder: Path) -> Iterable[object]:
    from datasets import Audio, load_dataset

    turns = load_dataset(str(folder), split="train", cache_dir=str(folder.with_name("cache")))
    return turns.cast_column("audio", Audio(decode=False))


PEERS: dict[str, tuple[str, Callable[[Path], Iterable[object]]]] = {
    "kaldi": ("lhotse", lhotse_kaldi),
    "lhotse": ("lhotse", lhotse_cuts),
    "hf": ("datasets", hugging_face),
}
"""Format -> the package that reads it, and how."""
INPUTS = ("kaldi", "nemo", "nemo-tarred", "lhotse", "hf")
"""Formats that inputs can be in."""


def timed(work: Callable[[Path], int], folder: Path) -> tuple[int, float]:
    """(rows, CPU seconds)."""
    started = time.process_time()
    rows = work(folder)
    return rows, time.process_time() - started


def row(what: str, rows: int, seconds: float) -> None:
    print(f"| {what} | {rows:,} | {seconds:.2f} | {rows / max(seconds, 1e-3):,.0f} |", flush=True)


def main(reference: str, to: str) -> None:
    version, folder = open_version(Reference.parse(reference)), Path(to)
    print("| | rows | CPU s | rows a CPU second |\n| --- | ---: | ---: | ---: |")
    for format in FORMATS:
        row(f"export {format}", *timed(lambda to, of=format: written(version, of, to), folder / format))
    for format in INPUTS:
        row(f"list {format}", *timed(listed, folder / format))
        package, read = PEERS.get(format, ("", None))
        if read and importlib.util.find_spec(package):
            row(
                f"{package} reads {format}",
                *timed(lambda of, by=read: sum(1 for _ in by(of)), folder / format),
            )


def written(version: Version, format: str, folder: Path) -> int:
    done = export(version, format, folder)
    return done.samples or done.turns


def listed(folder: Path) -> int:
    return len(list_inputs([str(folder)]).recordings)


if __name__ == "__main__":
    main(*sys.argv[1:])
