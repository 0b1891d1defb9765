"""How fast `aqaa-data browse` opens a large version, and answers a filter.

python tests/benchmarks/browse.py VERSION FOLDER [ROWS]

VERSION is the folder of a real version, whose turns are repeated under other names and with other measures
until there are ROWS (a million by default). The large version is written to FOLDER once. Times are those of a
client of the running command; CPU seconds are those of its process.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.build.publish import ROW_GROUP

SPREAD = 0.1
"""Standard deviation of what is added to each measure, relative to its own."""
REPEATS = 3

FILTERS: dict[str, dict] = {
    "a range of a measure": {"ranges": {"assessment.dnsmos_overall": [2.5, 3.5]}},
    "two ranges and a speaker": {
        "ranges": {"seconds": [2, 6], "transcript.average_log_probability": [-0.3, None]},
        "among": {"speaker": ["human"]},
    },
    "a word in the text": {"text": "school"},
    "what a moved threshold loses": {"moved": {"limit": "dnsmos_overall_min", "value": 3.0, "side": "goes"}},
}


def large_version(source: Path, folder: Path, rows: int) -> Path:
    """A dataset with one version, of which only what the page reads is complete."""
    dataset = folder / f"browse-{rows}"
    version = dataset / "versions" / source.name
    if not dataset.exists():
        version.mkdir(parents=True)
        for name in ("manifest.json", "index.parquet"):
            shutil.copy(source / name, version)
        write_repeated(pq.read_table(source / "turns.parquet"), rows, version / "turns.parquet")
    return dataset


def write_repeated(turns: pa.Table, rows: int, path: Path) -> None:
    random = np.random.default_rng(0)
    with pq.ParquetWriter(path, turns.schema, compression="zstd") as writer:
        for group in groups(turns, rows, random):
            writer.write_table(group, row_group_size=group.num_rows)


def groups(turns: pa.Table, rows: int, random: np.random.Generator) -> Iterator[pa.Table]:
    """Row groups of the size that builds write, `rows` in all."""
    pending, number = turns.schema.empty_table(), 0
    while rows:
        while pending.num_rows < min(ROW_GROUP, rows):
            pending = pa.concat_tables([pending, copy_of(turns, number, random)])
            number += 1
        group = pending.slice(0, min(ROW_GROUP, rows))
        pending = pending.slice(group.num_rows)
        rows -= group.num_rows
        yield group.combine_chunks()


def copy_of(turns: pa.Table, number: int, random: np.random.Generator) -> pa.Table:
    recordings = [f"{number:05d}/{name}" for name in turns["recording"].to_pylist()]
    keys = [
        f"{hashlib.sha256(name.encode()).hexdigest()[:16]}-{index:05d}"
        for name, index in zip(recordings, turns["index"].to_pylist(), strict=True)
    ]
    columns = {name: turns[name] for name in turns.column_names}
    columns |= {"key": pa.array(keys), "recording": pa.array(recordings)}
    for name in ("transcript", "assessment"):
        column = turns[name].combine_chunks()
        fields = [
            spread(column.field(n), random) if column.type.field(n).type == pa.float64() else column.field(n)
            for n in range(column.type.num_fields)
        ]
        columns[name] = pa.StructArray.from_arrays(fields, fields=list(column.type), mask=column.is_null())
    return pa.table(columns).cast(turns.schema)


def spread(values: pa.Array, random: np.random.Generator) -> pa.Array:
    deviation = pc.stddev(values).as_py() or 0.0
    return pc.add(values, random.normal(0, SPREAD * deviation, len(values)))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(dataset: Path) -> Iterator[tuple[str, float, float]]:
    """(what, seconds, CPU seconds) of opening, and the medians of each filter."""
    (version,) = (dataset / "versions").iterdir()
    reference = f"{dataset}@{version.name}"
    command = [sys.executable, "-m", "pipeline.cli", "browse", reference, "--port", "0", "--json"]
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            for what, part in (
                ("opened, from the start of the command: the first turns", "turns"),
                ("the same, with the histograms of all turns", "charts"),
            ):
                for asked in ("state", f"versions/0/{part}"):
                    with urlopen(f"{url}api/{asked}") as answer:
                        answer.read()
                yield what, time.monotonic() - start, cpu_seconds(process.pid)
            for name, wanted in FILTERS.items():
                times = []
                for _ in range(REPEATS):
                    before, spent = time.monotonic(), cpu_seconds(process.pid)
                    for part in ("turns", "charts"):
                        with urlopen(
                            f"{url}api/versions/0/{part}?filter={quote(json.dumps(wanted))}"
                        ) as answer:
                            answer.read()
                    times.append((time.monotonic() - before, cpu_seconds(process.pid) - spent))
                seconds, cpu = np.median(times, axis=0)
                yield f"{name}: table, counts and all histograms", seconds, cpu
        finally:
            process.terminate()


if __name__ == "__main__":
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
    large = large_version(Path(sys.argv[1]), Path(sys.argv[2]), rows)
    print(f"| {rows:,} turns | seconds | CPU seconds |\n| --- | --- | --- |")
    for what, seconds, cpu in measure(large):
        print(f"| {what} | {seconds:.2f} | {cpu:.2f} |", flush=True)
