"""How fast `aqaa-data browse` opens a large version, and answers a filter.

python tests/benchmarks/browse.py VERSION FOLDER [ROWS]

VERSION is the folder of a real version, whose turns are repeated under other names and with other measures
until there are ROWS (a million by default). The table is written to FOLDER once.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.build.publish import ROW_GROUP

SPREAD = 0.1
"""Standard deviation of what is added to each measure, relative to its own."""


def multiplied(turns: pa.Table, rows: int, path: Path) -> None:
    """Write a table with the turns again and again, as other recordings with other measures."""
    random = np.random.default_rng(0)
    copies = -(-rows // turns.num_rows)
    with pq.ParquetWriter(path, turns.schema, compression="zstd") as writer:
        pending = turns.schema.empty_table()
        for number in range(copies):
            recordings = [f"{number:05d}/{name}" for name in turns["recording"].to_pylist()]
            index = turns["index"].to_pylist()
            keys = [
                f"{hashlib.sha256(name.encode()).hexdigest()[:16]}-{at:05d}"
                for name, at in zip(recordings, index, strict=True)
            ]
            copy = turns.set_column(0, "key", pa.array(keys)).set_column(1, "recording", pa.array(recordings))
            for name in ("transcript", "assessment"):
                column = copy[name].combine_chunks()
                fields = [
                    _spread(column.field(n), random)
                    if column.type.field(n).type == pa.float64()
                    else column.field(n)
                    for n in range(column.type.num_fields)
                ]
                spread = pa.StructArray.from_arrays(fields, fields=list(column.type), mask=column.is_null())
                copy = copy.set_column(copy.schema.get_field_index(name), name, spread)
            pending = pa.concat_tables([pending, copy.cast(turns.schema)])
            if number == copies - 1:
                pending = (
                    pending.slice(0, rows % ROW_GROUP or ROW_GROUP)
                    if pending.num_rows > ROW_GROUP
                    else pending
                )
            if pending.num_rows >= ROW_GROUP or number == copies - 1:
                writer.write_table(pending.combine_chunks(), row_group_size=pending.num_rows)
                pending = turns.schema.empty_table()


def _spread(values: pa.Array, random: np.random.Generator) -> pa.Array:
    deviation = pc.stddev(values).as_py()
    return pc.add(values, random.normal(0, SPREAD * (deviation or 0.0), len(values)))


if __name__ == "__main__":
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
    out = folder / f"turns-{rows}.parquet"
    if not out.exists():
        turns = pq.read_table(source / "turns.parquet")
        multiplied(turns, rows, out)
    print(out, pq.ParquetFile(out).metadata.num_rows, out.stat().st_size)
