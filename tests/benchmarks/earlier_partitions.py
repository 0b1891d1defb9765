"""CPU seconds, memory and bytes of duplicates and caps over all partitions, without real audio.

    python -m tests.benchmarks.earlier_partitions FOLDER --earlier 4 --turns 250000

So many earlier partitions get the tables of what they keep, of so many turns each, ten to a recording,
with random signatures of which none is similar. As many turns of a new partition, a tenth of them said in one
of those, are compared with all, and the hours of their thousand speakers are added up.
"""

import argparse
import json
import resource
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cluster.ray import running
from pipeline.config.recipe import load
from pipeline.pack.kept import EarlierPartitions, hours_table, sketch_table, written
from pipeline.planning.plan import make_plan
from pipeline.storage import dataset_layout as layout
from schemas.manifest import PartitionVersion
from schemas.turn import recording_key
from stages.mixture import MixtureTurn
from stages.select import PERMUTATIONS, Item

VERSION = "0" * 16


def items_of(partition: str, turns: int, draw: np.random.Generator) -> list[Item]:
    signatures = draw.integers(0, 2**32, (turns, PERMUTATIONS), np.uint32)
    return [
        Item(f"{recording_key(place_of(partition, n))}-{n % 10:05d}", f"{partition} {n}", row)
        for n, row in enumerate(signatures)
    ]


def place_of(partition: str, number: int) -> str:
    return f"{partition}/{number // 10:09d}.wav"


def turns_of(partition: str, items: list[Item]) -> list[MixtureTurn]:
    return [
        MixtureTurn(item.name, place_of(partition, n), 0.0, 4.5, f"speaker {n % 1000}", "en")
        for n, item in enumerate(items)
    ]


def gigabytes() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 3)


def measure(folder: Path, earlier: int, turns: int, parallel: bool) -> dict[str, Any]:
    (folder / "in" / "z").mkdir(parents=True)
    (folder / "in" / "z" / "a.wav").write_bytes(b"")
    (folder / "recipe.yaml").write_text("name: z\ninputs: [in]\noutput: out/many/partitions\n")
    plan = make_plan(load(folder / "recipe.yaml"))
    draw = np.random.default_rng(0)
    names = [f"{number:05d}" for number in range(earlier)]
    writing, size, before = 0.0, 0, []
    for name in names:
        items = items_of(name, turns, draw)
        before += items[:: 10 * earlier]
        started = time.process_time()
        tables = {
            "turn": sketch_table((place_of(name, n), item) for n, item in enumerate(items)),
            "hours": hours_table(turns_of(name, items), ["speaker", "language"]),
        }
        place = folder / "out/many" / layout.partition(name) / layout.version(VERSION, layout.KEPT)
        place.mkdir(parents=True)
        for table, rows in tables.items():
            size += written(rows, place / f"{table}.parquet").stat().st_size
        writing += time.process_time() - started
    parts = (
        PartitionVersion(partition=name, version=VERSION, settings="", shards=0, bytes=0) for name in names
    )
    known = EarlierPartitions(replace(plan, earlier=tuple(parts)), parallel)
    own = items_of("z", turns, draw)
    own[: len(before)] = [
        replace(item, signature=other.signature) for item, other in zip(own, before, strict=False)
    ]
    held = gigabytes()
    with running() if parallel else nullcontext():
        began, started = time.monotonic(), time.process_time()
        found = known.duplicates(own, "turn", 0.8)
        waited, comparing = time.monotonic() - began, time.process_time() - started
    assert found.keys() == {item.name for item in own[: len(before)]}
    started = time.process_time()
    used = known.seconds(turns_of("z", own), ["speaker", "language"])
    adding = time.process_time() - started
    assert used["language"] == {"en": 4.5 * turns * earlier}
    millions = earlier * turns / 1e6
    return {
        "turns_kept_before": earlier * turns,
        "turns": turns,
        "megabytes_per_million": round(size / 1e6 / millions, 1),
        "cpu_seconds_to_write_a_million": round(writing / millions, 2),
        "cpu_seconds_to_compare_with_a_million": round(comparing / millions, 2),
        "seconds_to_compare_with_a_million": round(waited / millions, 2),
        "cpu_seconds_to_add_hours": round(adding, 2),
        "duplicates": len(found),
        "gigabytes_before_and_after": [held, gigabytes()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--earlier", type=int, default=4, help="partitions before the one that is compared")
    parser.add_argument("--turns", type=int, default=250_000, help="of each partition")
    parser.add_argument("--parallel", action="store_true", help="compare with each in a task of Ray")
    arguments = parser.parse_args()
    print(
        json.dumps(
            measure(arguments.folder, arguments.earlier, arguments.turns, arguments.parallel), indent=1
        )
    )


if __name__ == "__main__":
    main()
