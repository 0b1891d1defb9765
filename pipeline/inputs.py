"""Listing of the inputs: which files are recordings, which stand beside one and belong to it."""

import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.storage import Object, Store, local_path, normal, split
from schemas.errors import SetupError
from schemas.recording import Companion, Recording

COMPANIONS = ("rttm", "stm", "ctm", "jsonl")
"""Files beside a recording that may hold its diarization or transcript."""

_BESIDE = "json rttm stm ctm jsonl txt md csv tsv lab textgrid srt vtt xml html htm yaml yml toml log"
_ELSE = "py sh ipynb pdf png jpg jpeg gif svg parquet tar zip gz xz npy npz pt sha256 md5 ds_store"
NOT_AUDIO = frozenset(f"{_BESIDE} {_ELSE}".split())
"""Extensions that no recording has; everything else is tried, because names lie."""


@dataclass(frozen=True, slots=True)
class Input:
    """A recording as listed, before anything was read."""

    id: str
    """Path relative to its root."""
    uri: str
    bytes: int
    etag: str
    sidecar: Companion | None
    companions: tuple[Companion, ...]

    def recording(self, sidecar: str) -> Recording:
        """The record that annotate starts from, with the text of the sidecar."""
        return Recording(self.id, self.uri, self.bytes, self.etag, sidecar, self.companions)


@dataclass(frozen=True)
class Root:
    """One of the recipe's inputs, with what was found there."""

    uri: str
    recordings: int
    bytes: int
    ignored: int
    """Files that are neither a recording nor beside one by name."""


@dataclass(frozen=True)
class Listing:
    recordings: tuple[Input, ...]
    """Sorted by id."""
    roots: tuple[Root, ...]


def list_inputs(uris: Sequence[str]) -> Listing:
    """Every recording under files, directories, globs or prefixes.

    Raises SetupError where an input does not exist, or nothing at all was found.
    """
    found: list[tuple[str, list[Input], int]] = []
    for uri in uris:
        store, objects = _objects(uri)
        recordings, ignored = _recordings(store, objects)
        found.append((normal(uri), recordings, ignored))
    recordings = sorted(_distinct(found), key=lambda r: r.id)
    if not recordings:
        places = ", ".join(uris) or "(no input)"
        raise SetupError(
            f"no recording found under {places}: name a file, a directory or a glob that holds some"
        )
    roots = tuple(Root(uri, len(r), sum(x.bytes for x in r), ignored) for uri, r, ignored in found)
    return Listing(tuple(recordings), roots)


def _objects(uri: str) -> tuple[Store, list[Object]]:
    """The store to read from and the objects that an input names, paths relative to the store."""
    full = normal(uri)
    if full.startswith("file://"):
        path = local_path(full)
        if path.is_dir():
            store = Store(full)
            return store, list(store.list())
        if path.is_file():
            store, name = split(full)
            beside = [o for o in store.list() if "/" not in o.path and o.path.startswith(Path(name).stem)]
            return store, [o for o in beside if o.path == name or extension(o.path) in NOT_AUDIO]
    if glob.has_magic(uri):
        return _glob(full if "://" in uri else uri)
    if full.startswith("file://"):
        raise SetupError(f"input {uri}: there is no such file or directory")
    parent, name = split(full)
    try:
        return parent, [parent.head(name)]
    except FileNotFoundError:
        store = Store(full)
        return store, list(store.list())


def _glob(uri: str) -> tuple[Store, list[Object]]:
    fixed: list[str] = []
    pattern: list[str] = []
    for part in uri.split("/"):
        (pattern if pattern or glob.has_magic(part) else fixed).append(part)
    store = Store("/".join(fixed) or ("/" if uri.startswith("/") else "."))
    matches = _translate("/".join(pattern)).match
    objects = list(store.list())
    chosen = [o for o in objects if matches(o.path) and not _beside(o.path)]
    stems = {o.path for o in chosen} | {o.path.rpartition(".")[0] for o in chosen}
    return store, chosen + [o for o in objects if _beside(o.path) and o.path.rpartition(".")[0] in stems]


def _translate(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: `**` crosses folders, `*` and `?` don't."""
    out = ""
    for piece in re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", pattern):
        match piece:
            case "**/":
                out += "(?:.*/)?"
            case "**":
                out += ".*"
            case "*":
                out += "[^/]*"
            case "?":
                out += "[^/]"
            case _ if piece.startswith("[") and piece.endswith("]"):
                out += piece.replace("[!", "[^")
            case _:
                out += re.escape(piece)
    return re.compile(out + r"\Z")


def _recordings(store: Store, objects: list[Object]) -> tuple[list[Input], int]:
    """Recordings with the files beside them, and the number of files passed over."""
    by_path = {o.path: o for o in objects}
    recordings = []
    taken: set[str] = set()
    for found in objects:
        if _beside(found.path) or any(part.startswith(".") for part in PurePosixPath(found.path).parts):
            continue
        stem = found.path.rpartition(".")[0] or found.path
        sidecar = by_path.get(f"{found.path}.json") or by_path.get(f"{stem}.json")
        companions = tuple(
            Companion(kind, store.join(file.path), file.etag)
            for kind in COMPANIONS
            if (file := by_path.get(f"{found.path}.{kind}") or by_path.get(f"{stem}.{kind}"))
        )
        taken.update(path for path in (sidecar and sidecar.path,) if path)
        recordings.append(
            Input(
                found.path,
                store.join(found.path),
                found.bytes,
                found.etag,
                Companion("json", store.join(sidecar.path), sidecar.etag) if sidecar else None,
                companions,
            )
        )
    ignored = len(objects) - len(recordings) - len(taken) - sum(len(r.companions) for r in recordings)
    return recordings, max(0, ignored)


def _beside(path: str) -> bool:
    return extension(path) in NOT_AUDIO


def extension(path: str) -> str:
    """Lower-case extension of a path's last part, without the dot; empty without one."""
    return path.rpartition("/")[2].rpartition(".")[2].lower() if "." in path else ""


def _distinct(found: list[tuple[str, list[Input], int]]) -> Iterator[Input]:
    """Every recording once, with an id of its own: equal ids get the name of their root in front."""
    by_uri = {r.uri: (uri, r) for uri, recordings, _ in found for r in recordings}
    times = Counter(r.id for _, r in by_uri.values())
    seen: set[str] = set()
    for root, recording in by_uri.values():
        name = recording.id
        if times[name] > 1:
            base = root.rpartition("/")[2] if not root.endswith(name) else root.split("/")[-2]
            name = f"{base}/{name}"
        if name in seen:
            raise SetupError(
                f"two inputs hold a recording called {name}: give them folders of different names"
            )
        seen.add(name)
        yield Input(
            name, recording.uri, recording.bytes, recording.etag, recording.sidecar, recording.companions
        )
