"""Listing of the inputs: which files are recordings, which stand beside one and belong to it."""

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.manifests import read_manifest
from pipeline.inputs.row_files import SUFFIXES
from pipeline.storage.store import Object, Store, split
from pipeline.storage.symlinks import LEADS_OUT, Links
from pipeline.storage.uri import local_path, normal
from schemas.errors import SetupError
from schemas.recording import Companion

__all__ = ["InputRoot", "ListedRecording", "Listing", "extension", "list_inputs"]

COMPANIONS = ("rttm", "stm", "ctm", "jsonl")
"""Files beside a recording that may hold its diarization or transcript."""

_BESIDE = "json rttm stm ctm jsonl txt md csv tsv lab textgrid srt vtt xml html htm yaml yml toml log"
_ELSE = "py sh ipynb pdf png jpg jpeg gif svg parquet tar zip gz xz npy npz pt sha256 md5 ds_store"
NOT_AUDIO = frozenset(f"{_BESIDE} {_ELSE}".split())
"""Extensions that no recording has; everything else is tried, because names lie."""


@dataclass(frozen=True)
class InputRoot:
    """One of the recipe's inputs, with what was found there."""

    uri: str
    recordings: int
    bytes: int
    ignored: int
    """Files that are neither a recording nor beside one by name."""


@dataclass(frozen=True)
class Listing:
    recordings: tuple[ListedRecording, ...]
    """Sorted by id."""
    roots: tuple[InputRoot, ...]


def list_inputs(uris: Sequence[str]) -> Listing:
    """Every recording under files, directories, globs or prefixes, or named by manifests.

    Raises SetupError where an input does not exist, or nothing at all was found.
    """
    found: list[tuple[str, list[ListedRecording], int]] = []
    for uri in uris:
        if uri.endswith(SUFFIXES) and not glob.has_magic(uri):
            recordings, ignored = read_manifest(uri), 0
        else:
            store, objects = _objects(uri)
            # A file that is named itself may be a link to anywhere; what is found in a folder may not.
            named = isinstance(objects, list)
            links = None if named or not store.is_local else Links(store.directory)
            recordings, ignored = _recordings(store, objects, links)
        found.append((normal(uri), recordings, ignored))
    recordings = sorted(_distinct(found), key=lambda r: r.id)
    if not recordings:
        places = ", ".join(uris) or "(no input)"
        raise SetupError(f"no recording found under {places}: name a file, a directory, a glob or a manifest")
    roots = tuple(InputRoot(uri, len(r), sum(x.bytes for x in r), ignored) for uri, r, ignored in found)
    return Listing(tuple(recordings), roots)


def _objects(uri: str) -> tuple[Store, Iterable[Object]]:
    """The store to read from and the objects that an input names, paths relative to the store."""
    full = normal(uri)
    if full.startswith("file://"):
        path = local_path(full)
        if path.is_dir():
            store = Store(full)
            return store, store.list()
        if not path.is_file() and not glob.has_magic(uri):
            raise SetupError(f"input {uri}: there is no such file or directory")
        if path.is_file():
            return _one(full)
    elif "/" in full.partition("://")[2]:
        with suppress(FileNotFoundError):
            return _one(full)
    if glob.has_magic(uri):
        return _glob(full if "://" in uri else uri)
    store = Store(full)
    return store, store.list()


def _one(uri: str) -> tuple[Store, list[Object]]:
    """A single file and those beside it. Raises FileNotFoundError."""
    store, name = split(uri)
    objects = [store.head(name)]
    for stem in {name, name.rpartition(".")[0] or name}:
        for kind in ("json", *COMPANIONS):
            with suppress(FileNotFoundError):
                objects.append(store.head(f"{stem}.{kind}"))
    return store, objects


def _glob(uri: str) -> tuple[Store, Iterator[Object]]:
    fixed: list[str] = []
    pattern: list[str] = []
    for part in uri.split("/"):
        (pattern if pattern or glob.has_magic(part) else fixed).append(part)
    store = Store("/".join(fixed) or ("/" if uri.startswith("/") else "."))
    matches = _translate("/".join(pattern)).match
    return store, (o for o in store.list() if _beside(o.path) or matches(o.path))


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


def _recordings(
    store: Store, objects: Iterable[Object], links: Links | None
) -> tuple[list[ListedRecording], int]:
    """Recordings with the files beside them, and the number of files passed over.

    Of a listing that never ends only what may be used is held.
    """
    found: list[Object] = []
    beside: dict[str, Object] = {}
    ignored = 0
    for item in objects:
        if links is not None and links.lead_out(item.path):
            if _beside(item.path) or _hidden(item.path):
                ignored += 1
            else:
                found.append(replace(item, etag=LEADS_OUT))
        elif extension(item.path) in ("json", *COMPANIONS):
            beside[item.path] = item
        elif _beside(item.path) or _hidden(item.path) or (not store.is_local and _stands_for_folder(item)):
            ignored += 1
        else:
            found.append(item)
    shared: set[str] = set()

    def companion(path: str, kind: str) -> Companion | None:
        file = beside.pop(f"{path}.{kind}", None)
        if file is None:
            stem = path.rpartition(".")[0] or path
            file = beside.get(f"{stem}.{kind}")  # of all recordings of this stem
            if file is None:
                return None
            shared.add(file.path)
        return Companion(kind, store.join(file.path), file.etag)

    # Of many recordings most have no files of most kinds beside them.
    some = {extension(path) for path in beside}
    kinds = [kind for kind in COMPANIONS if kind in some]
    recordings = []
    found.reverse()
    while found:  # what was listed goes as its recording comes, so that millions fit
        item = found.pop()
        companions = tuple(c for kind in kinds if (c := companion(item.path, kind)))
        sidecar = companion(item.path, "json") if some else None
        uri = store.join(item.path)
        recordings.append(ListedRecording(item.path, uri, item.bytes, item.etag, sidecar, companions))
    return recordings, ignored + len(beside.keys() - shared)


def _hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path


def _stands_for_folder(item: Object) -> bool:
    """Whether a key is one of those that consoles put where a folder shall be seen."""
    return item.bytes == 0 and not extension(item.path)


def _beside(path: str) -> bool:
    return extension(path) in NOT_AUDIO


def extension(path: str) -> str:
    """Lower-case extension of a path's last part, without the dot; empty without one."""
    return path.rpartition("/")[2].rpartition(".")[2].lower() if "." in path else ""


def _distinct(found: list[tuple[str, list[ListedRecording], int]]) -> Iterator[ListedRecording]:
    """Every recording once, with an id of its own: equal ids get the name of their root in front."""
    if len(found) == 1 and len({r.id for r in found[0][1]}) == len(found[0][1]):
        yield from found[0][1]  # by far the most, and a million of them
        return
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
        yield recording if name == recording.id else replace(recording, id=name)
