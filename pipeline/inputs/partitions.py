"""Partitions of the inputs: their folders, each of which is planned, annotated and packed by itself.

The driver's memory then depends on the largest partition, and not on all recordings.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.inputs.beside import NOT_AUDIO, extension, hidden
from pipeline.inputs.listing import is_folder_marker
from pipeline.storage.store import Store
from schemas.errors import SetupError


@dataclass(frozen=True)
class Partition:
    """A folder, in one or several of the inputs."""

    name: str
    """`2026-07` for the folder `2026/07`."""
    folder: str
    """Path below the input; the ids of its recordings begin with it."""
    inputs: tuple[str, ...]
    """URI of the folder in each input that has it."""


def partitions_of(inputs: Sequence[str], levels: int) -> list[Partition]:
    """The folders `levels` below the inputs, sorted by path. Their contents are not listed.

    Raises SetupError if an input is no folder, has a recording above these folders, or if two of them would
    have the same name.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for uri in inputs:
        for folder, where in _below(Store(uri), uri, levels):
            found[folder].append(where)
    named: dict[str, str] = {}
    for folder in sorted(found):
        name = re.sub(r"[^a-z0-9._-]+", "-", folder.lower()).strip("-._") or "partition"
        if name in named:
            raise SetupError(
                f"the partitions {named[name]} and {folder} would both be called {name}: rename a folder"
            )
        named[name] = folder
    if not named:
        shown = ", ".join(inputs) or "(no input)"
        raise SetupError(f"partitions.folders: no folder is {levels} below {shown}")
    return [Partition(name, folder, tuple(found[folder])) for name, folder in named.items()]


def _below(root: Store, uri: str, levels: int) -> Iterator[tuple[str, str]]:
    """(path below the root, URI) of each folder."""
    above = [""]
    for _ in range(levels):
        for folder in above:
            _refuse_recordings(root, uri, folder)
        above = [
            f"{folder}/{name}".lstrip("/")
            for folder in above
            for name in root.folders(folder)
            if not hidden(name)
        ]
    return ((folder, root.join(folder)) for folder in above)


def _refuse_recordings(root: Store, uri: str, folder: str) -> None:
    for item in root.files(folder):
        is_marker = not root.is_local and is_folder_marker(item)
        if extension(item.path) not in NOT_AUDIO and not hidden(item.path) and not is_marker:
            raise SetupError(
                f"{root.join(item.path)} is in no partition: with `partitions`, every recording is in a "
                f"folder below the input {uri}; move it into one"
            )
