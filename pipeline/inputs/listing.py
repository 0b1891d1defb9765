"""Listing of the inputs: which files are recordings, and which files beside them belong to them."""

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.manifests import read_manifest
from pipeline.inputs.row_files import SUFFIXES
from pipeline.storage.store import Store, StoredObject, split
from pipeline.storage.symlinks import LEADS_OUT, Links
from pipeline.storage.uri import local_path, normalize_uri
from schemas.errors import SetupError
from schemas.recording import Companion

__all__ = ["InputRoot", "ListedRecording", "Listing", "extension", "list_inputs"]

COMPANIONS = ("rttm", "stm", "ctm", "jsonl")
"""Files beside a recording that may hold its diarization or transcript."""

_BESIDE = "json rttm stm ctm jsonl txt md csv tsv lab textgrid srt vtt xml html htm yaml yml toml log"
_ELSE = "py sh ipynb pdf png jpg jpeg gif svg parquet tar zip gz xz npy npz pt sha256 md5 ds_store"
NOT_AUDIO = frozenset(f"{_BESIDE} {_ELSE}".split())
"""Extensions that no recording has; any other file is tried, because extensions can be wrong."""


@dataclass(frozen=True)
class InputRoot:
    """One of the recipe's inputs, with what it contains."""

    uri: str
    recordings: int
    bytes: int
    ignored: int
    """Files that neither are a recording nor belong to one by their name."""


@dataclass(frozen=True)
class Listing:
    recordings: tuple[ListedRecording, ...]
    """Sorted by id."""
    roots: tuple[InputRoot, ...]


def list_inputs(uris: Sequence[str]) -> Listing:
    """Every recording under files, directories, globs or prefixes, or named by manifests.

    An input that exists is taken as it is, even if its name looks like a glob. Raises SetupError if an input
    doesn't exist, or no recording was found.
    """
    found: list[tuple[str, list[ListedRecording], int]] = []
    for uri in uris:
        if uri.endswith(SUFFIXES) and (not glob.has_magic(uri) or _exists(uri)):
            recordings, ignored = read_manifest(uri), 0
        else:
            store, objects = _objects(uri)
            # An input that is a file may be a link to anywhere, a file in a folder may not.
            single = isinstance(objects, list)
            links = None if single or not store.is_local else Links(store.directory)
            recordings, ignored = _recordings(store, objects, links)
        found.append((normalize_uri(uri), recordings, ignored))
    recordings = sorted(_distinct(found), key=lambda r: r.id)
    if not recordings:
        shown = ", ".join(uris) or "(no input)"
        raise SetupError(f"no recording found under {shown}: name a file, a directory, a glob or a manifest")
    roots = tuple(InputRoot(uri, len(r), sum(x.bytes for x in r), ignored) for uri, r, ignored in found)
    return Listing(tuple(recordings), roots)


def _exists(uri: str) -> bool:
    store, name = split(uri)
    return store.exists(name)


def _objects(uri: str) -> tuple[Store, Iterable[StoredObject]]:
    """The store to read from and the objects that an input names, paths relative to the store."""
    full = normalize_uri(uri)
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
    store = Store(full)
    if glob.has_magic(uri) and (store.is_local or next(store.list(), None) is None):
        return _glob(full if "://" in uri else uri)
    return store, store.list()


def _one(uri: str) -> tuple[Store, list[StoredObject]]:
    """A single file and the files that belong to it. Raises FileNotFoundError."""
    store, name = split(uri)
    objects = [store.head(name)]
    for stem in {name, name.rpartition(".")[0] or name}:
        for kind in ("json", *COMPANIONS):
            with suppress(FileNotFoundError):
                objects.append(store.head(f"{stem}.{kind}"))
    return store, objects


def _glob(uri: str) -> tuple[Store, Iterator[StoredObject]]:
    fixed: list[str] = []
    pattern: list[str] = []
    for part in uri.split("/"):
        (pattern if pattern or glob.has_magic(part) else fixed).append(part)
    store = Store("/".join(fixed) or ("/" if uri.startswith("/") else "."))
    matches = _translate("/".join(pattern)).match
    return store, (o for o in store.list() if _is_not_audio(o.path) or matches(o.path))


def _translate(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: `**` matches across folders, `*` and `?` don't."""
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
    store: Store, objects: Iterable[StoredObject], links: Links | None
) -> tuple[list[ListedRecording], int]:
    """Recordings with the files that belong to them, and the number of ignored files.

    Ignored files are not kept in memory, because a listing can be very long.
    """
    found: list[StoredObject] = []
    beside: dict[str, StoredObject] = {}
    ignored = 0
    for item in objects:
        if links is not None and links.lead_out(item.path):
            if _is_not_audio(item.path) or _hidden(item.path):
                ignored += 1
            else:
                found.append(replace(item, etag=LEADS_OUT))
        elif extension(item.path) in ("json", *COMPANIONS):
            beside[item.path] = item
        elif (
            _is_not_audio(item.path) or _hidden(item.path) or (not store.is_local and _is_folder_marker(item))
        ):
            ignored += 1
        else:
            found.append(item)
    shared: set[str] = set()

    def companion(path: str, kind: str) -> Companion | None:
        file = beside.pop(f"{path}.{kind}", None)
        if file is None:
            stem = path.rpartition(".")[0] or path
            file = beside.get(f"{stem}.{kind}")  # shared by all recordings with this stem
            if file is None:
                return None
            shared.add(file.path)
        return Companion(kind, store.join(file.path), file.etag)

    # Most listings have few kinds of companions: look only for those.
    listed_kinds = {extension(path) for path in beside}
    kinds = [kind for kind in COMPANIONS if kind in listed_kinds]
    recordings = []
    found.reverse()
    while found:  # each object is freed as its recording is created, so that millions fit in memory
        item = found.pop()
        companions = tuple(c for kind in kinds if (c := companion(item.path, kind)))
        sidecar = companion(item.path, "json") if listed_kinds else None
        uri = store.join(item.path)
        recordings.append(ListedRecording(item.path, uri, item.bytes, item.etag, sidecar, companions))
    return recordings, ignored + len(beside.keys() - shared)


def _hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path


def _is_folder_marker(item: StoredObject) -> bool:
    """Whether a key is an empty object by which web consoles create a folder."""
    return item.bytes == 0 and not extension(item.path)


def _is_not_audio(path: str) -> bool:
    return extension(path) in NOT_AUDIO


def extension(path: str) -> str:
    """The lower-case extension of a path, without the dot; empty if it has none."""
    return path.rpartition("/")[2].rpartition(".")[2].lower() if "." in path else ""


def _distinct(found: list[tuple[str, list[ListedRecording], int]]) -> Iterator[ListedRecording]:
    """Every recording once, with a unique id: equal ids are prefixed with the name of their root."""
    if len(found) == 1 and len({r.id for r in found[0][1]}) == len(found[0][1]):
        yield from found[0][1]  # the usual case, possibly with millions of recordings
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
                f"two inputs have a recording called {name}: put them in folders with different names"
            )
        seen.add(name)
        yield recording if name == recording.id else replace(recording, id=name)
