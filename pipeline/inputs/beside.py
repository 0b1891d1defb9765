"""Which files beside a recording belong to it: its sidecar and its companions.

`talk.wav.stm` and `talk.stm` belong to `talk.wav`. An equal name comes first; else case and Unicode form
don't matter, as long as the name then still means one recording.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pipeline.storage.store import StoredObject
from schemas.companions import KINDS
from schemas.text_files import fold

BESIDE = ("json", *KINDS)
"""Kinds of files that belong to a recording: sidecars, and companions in order of preference."""

_TEXT = "md csv tsv lab xml html htm yaml yml toml log"
_ELSE = "py sh ipynb pdf png jpg jpeg gif svg parquet tar tgz zip gz xz npy npz pt sha256 md5 ds_store"
NOT_AUDIO = frozenset((*BESIDE, *f"{_TEXT} {_ELSE}".split()))
"""Extensions that no recording has; any other file is tried, because extensions can be wrong."""


def extension(path: str) -> str:
    """The lower-case extension of a path, without the dot; empty if it has none."""
    return path.rpartition("/")[2].rpartition(".")[2].lower() if "." in path else ""


def hidden(path: str) -> bool:
    """Whether a file, or a folder that it is in, is hidden."""
    return path.startswith(".") or "/." in path


class FilesBeside:
    """The files that may belong to a recording, and which of them do."""

    def __init__(self, files: Iterable[StoredObject], recordings: Sequence[str]) -> None:
        """`recordings` are the paths of all recordings in the same place."""
        self._files: dict[tuple[str, str], StoredObject] = {}
        """By the path without extension, and the kind."""
        self._folded: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for file in sorted(files, key=lambda file: file.path):
            key = file.path.rpartition(".")[0], extension(file.path)
            self._files.setdefault(key, file)
        self._kinds = [kind for kind in BESIDE if any(of == kind for _, of in self._files)]
        self._used: set[str] = set()
        self._claims: dict[str, set[str]] = defaultdict(set)
        if self._kinds:
            self._match(recordings)

    def _match(self, recordings: Sequence[str]) -> None:
        """Find the files whose name is no recording's, and how their names fold."""
        stems = {stem for stem, _ in self._files}
        matched = {name for path in recordings for name in _names(path) if name in stems}
        for stem, kind in self._files:
            if stem not in matched:
                self._folded[fold(stem), kind].append((stem, kind))
        if not self._folded:
            return
        wanted = {stem for stem, _ in self._folded}
        for path in recordings:
            for name in _names(path):
                if (folded := fold(name)) in wanted:
                    self._claims[folded].add(name)

    def of(self, recording: str) -> dict[str, StoredObject]:
        """Kind -> file of a recording."""
        found: dict[str, StoredObject] = {}
        for kind in self._kinds:
            file = self._exact(recording, kind) or self._alike(recording, kind)
            if file is not None:
                found[kind] = file
                self._used.add(file.path)
        return found

    def _exact(self, recording: str, kind: str) -> StoredObject | None:
        return next((f for name in _names(recording) if (f := self._files.get((name, kind)))), None)

    def _alike(self, recording: str, kind: str) -> StoredObject | None:
        for name in _names(recording):
            folded = fold(name) if self._folded else ""
            candidates = self._folded.get((folded, kind), [])
            # With two recordings of such names (`A.wav` and `a.wav`), nobody knows whose it is.
            if candidates and self._claims[folded] == {name}:
                return self._files[candidates[0]]
        return None

    def strays(self) -> list[str]:
        """The paths of the files that belong to no recording, or of which it has another."""
        return sorted(file.path for file in self._files.values() if file.path not in self._used)


def _names(recording: str) -> tuple[str, ...]:
    """The names of a recording without the extension of a file beside it."""
    stem = recording.rpartition(".")[0]
    return (recording, stem) if stem and not stem.endswith("/") else (recording,)
