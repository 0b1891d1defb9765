"""Files that hold or name recordings: archives, tables with audio, and manifests."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.inputs.formats.archives import read_archive
from pipeline.inputs.formats.tables import audio_column, read_table
from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.manifests import foreign_manifests
from pipeline.inputs.named_files import shown
from pipeline.inputs.part import FilePart
from pipeline.storage.store import Store, StoredObject

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
TABLE = ".parquet"
MANIFESTS = (".json", ".jsonl", ".jsonl.gz", ".json.gz")

_AT_ONCE = 16
"""Files that are listed at the same time."""


def is_container(path: str) -> bool:
    return path.lower().endswith((*ARCHIVES, TABLE, *MANIFESTS))


@dataclass
class Contents:
    """What is in some containers."""

    recordings: list[ListedRecording] = field(default_factory=list)
    ignored: int = 0
    """Members that are neither recordings nor belong to one."""
    strays: list[str] = field(default_factory=list)
    """Companions of no member."""
    read: set[str] = field(default_factory=set)
    """The containers that were read; others of their names are something else."""

    def add(self, other: "Contents") -> None:
        self.recordings += other.recordings
        self.ignored += other.ignored
        self.strays += other.strays
        self.read |= other.read


def read_containers(store: Store, files: Sequence[StoredObject]) -> Contents:
    """The recordings of the containers in a folder, in the order of their paths."""
    contents = Contents()
    manifests = [file.path for file in files if file.path.lower().endswith(MANIFESTS)]
    for path, recordings in foreign_manifests(store, sorted(manifests)):
        contents.add(Contents(recordings, read={path}))
    # Tars whose members a manifest names are not listed again.
    named = {part.file for recording in contents.recordings if (part := FilePart.parse(recording.uri))}
    contents.read |= {file.path for file in files if store.join(file.path) in named}
    others = sorted((file for file in files if file.path not in contents.read), key=lambda file: file.path)
    others = [file for file in others if file.path not in manifests]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for one in pool.map(lambda file: _read(store, file), others):
            contents.add(one)
    return contents


def _read(store: Store, file: StoredObject) -> Contents:
    if not file.path.lower().endswith(TABLE):
        recordings, ignored, strays = read_archive(store, file, shown(file.path))
        return Contents(recordings, ignored, strays, {file.path})
    try:
        if audio_column(store, file.path) is None:
            return Contents()
    except (pa.ArrowException, OSError):
        pass  # it is set aside by name
    return Contents(read_table(store, file, shown(file.path)), read={file.path})
