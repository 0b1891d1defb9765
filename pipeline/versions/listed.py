"""Where the recordings of a version are, from the annotations that it was packed from."""

from collections.abc import Collection
from io import BytesIO

import pyarrow.parquet as pq

from pipeline.storage import dataset_layout as layout
from pipeline.versions.reader import Version
from schemas.recording import STAGES, Recording


def listed_recordings(version: Version, wanted: Collection[str]) -> dict[str, Recording]:
    """Id -> recording as it was listed; without those whose annotations are no longer there."""
    found: dict[str, Recording] = {}
    folder = layout.annotations(version.manifest.stages[STAGES[0]])
    for path in version.manifest.ledgers:
        if not path.startswith(folder):
            continue
        if len(found) == len(set(wanted)):
            break
        try:
            content = BytesIO(version.store.get(path))
        except FileNotFoundError:
            continue
        for row in pq.read_table(content, columns=["id", "uri", "bytes", "etag"]).to_pylist():
            if row["id"] in wanted:
                found[row["id"]] = Recording(row["id"], row["uri"], row["bytes"], row["etag"], "{}")
    return found
