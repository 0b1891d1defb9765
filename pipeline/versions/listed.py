"""Where the recordings of a version are, from the annotations that it was packed from."""

from collections.abc import Collection, Iterator
from io import BytesIO

import pyarrow.parquet as pq

from pipeline.storage import dataset_layout as layout
from pipeline.versions.reader import Version
from schemas.recording import STAGES, Recording


def listed_recordings(version: Version, wanted: Collection[str]) -> dict[str, Recording]:
    """Id -> recording as it was listed; without those whose annotations are no longer there."""
    found: dict[str, Recording] = {}
    for listed in _listed(version):
        found |= {recording.id: recording for recording in listed if recording.id in wanted}
        if len(found) == len(set(wanted)):
            break
    return found


class RecordingFinder:
    """Finds recordings one after the other; each annotation file is read once, when it is first needed."""

    def __init__(self, version: Version) -> None:
        self._rest = _listed(version)
        self._known: dict[str, Recording] = {}

    def find(self, id: str) -> Recording | None:
        """The recording as it was listed; None if its annotations are no longer there."""
        while id not in self._known:
            more = next(self._rest, None)
            if more is None:
                return None
            self._known |= {recording.id: recording for recording in more}
        return self._known[id]


def _listed(version: Version) -> Iterator[list[Recording]]:
    """The recordings of each annotation file that is still there."""
    for part in version.parts:
        folder = layout.annotations(part.manifest.stages[STAGES[0]])
        for path in part.manifest.ledgers:
            if not path.startswith(folder):
                continue
            try:
                content = BytesIO(part.store.get(path))
            except FileNotFoundError:
                continue
            rows = pq.read_table(content, columns=["id", "uri", "bytes", "etag"]).to_pylist()
            yield [Recording(row["id"], row["uri"], row["bytes"], row["etag"], "{}") for row in rows]
