"""Listing of the inputs: which files are recordings, and which files beside them belong to them.

A manifest or a folder of another tool names recordings elsewhere (`pipeline.inputs.formats`).
"""

import glob
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pipeline.inputs.beside import BESIDE, NOT_AUDIO, FilesBeside, extension, hidden
from pipeline.inputs.containers import is_container, read_containers
from pipeline.inputs.formats.kaldi import SCP, read_kaldi
from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.local_files import files_in, walk
from pipeline.inputs.manifests import is_manifest, read_manifest
from pipeline.inputs.named_files import shown
from pipeline.inputs.refusals import BAD_KEY, REFUSALS
from pipeline.inputs.row_files import SUFFIXES
from pipeline.storage.store import Store, StoredObject, can_request, split
from pipeline.storage.symlinks import LEADS_OUT, Links
from pipeline.storage.uri import local_path, normalize_uri
from schemas.errors import SetupError
from schemas.recording import Companion
from schemas.text_files import fold

__all__ = ["InputRoot", "ListedRecording", "Listing", "NoRecordingsError", "extension", "list_inputs"]


class NoRecordingsError(SetupError):
    """The inputs have no recording."""


STRAYS_SHOWN = 20
"""Companions without a recording that an input names."""


@dataclass(frozen=True)
class InputRoot:
    """One of the recipe's inputs, with what it contains."""

    uri: str
    recordings: int
    bytes: int
    ignored: int
    """Files that neither are a recording nor may belong to one."""
    strays: int = 0
    """Sidecars and companions that belong to no recording by their name."""
    strays_shown: tuple[str, ...] = ()
    """The first of them."""


@dataclass(frozen=True)
class Listing:
    recordings: tuple[ListedRecording, ...]
    """Sorted by id; synthesized ones behind them, in the order of their rows."""
    roots: tuple[InputRoot, ...]


def list_inputs(uris: Sequence[str], folder: str = "") -> Listing:
    """Every recording under files, directories, globs or prefixes, or named by manifests.

    With a `folder`, each input is that folder of an input, and ids begin with it, as those of the input do.
    An input that exists is taken as it is, even if its name looks like a glob. Raises SetupError if an input
    doesn't exist, and NoRecordingsError if no recording was found.
    """
    found: list[tuple[str, list[ListedRecording]]] = []
    roots: list[InputRoot] = []
    for uri in uris:
        recordings, ignored, strays = _of_input(uri)
        if folder:
            recordings = [replace(recording, id=f"{folder}/{recording.id}") for recording in recordings]
        found.append((normalize_uri(uri).removesuffix(f"/{folder}"), recordings))
        roots.append(
            InputRoot(
                normalize_uri(uri),
                len(recordings),
                sum(r.bytes for r in recordings),
                ignored,
                len(strays),
                strays[:STRAYS_SHOWN],
            )
        )
    recordings = sorted(_distinct(found), key=lambda r: r.id)
    if not recordings:
        shown = ", ".join(uris) or "(no input)"
        raise NoRecordingsError(
            f"no recording found under {shown}: name a file, a directory, a glob or a manifest"
        )
    return Listing(tuple(recordings), tuple(roots))


def _of_input(uri: str) -> tuple[list[ListedRecording], int, tuple[str, ...]]:
    """The recordings of one input, the number of ignored files, and stray companions."""
    if is_manifest(uri) and (_exists(uri) or (uri.endswith(SUFFIXES) and not glob.has_magic(uri))):
        return read_manifest(uri), 0, ()
    if data := _kaldi_folder(uri):
        return read_kaldi(data), 0, ()
    store, objects, named = _objects(uri)
    # An input that is a file may be a link to anywhere, a file in a folder may not.
    single = isinstance(objects, list)
    links = None if single or not store.is_local else Links(store.directory)
    containers: list[StoredObject] = []

    def seen(item: StoredObject) -> bool:
        if is_container(item.path) and not hidden(item.path) and named(item.path):
            containers.append(item)
        return True

    recordings, ignored, strays = _recordings(store, filter(seen, objects), links)
    if recordings or not containers:
        return recordings, ignored, strays
    # The archives of a folder that has recordings as well may be of these, and are left out.
    contents = read_containers(store, containers)
    read = {shown(path) for path in contents.read}
    strays = (*(path for path in strays if path not in read), *contents.strays)
    return contents.recordings, max(0, ignored - len(read)) + contents.ignored, strays


def _kaldi_folder(uri: str) -> Store | None:
    """The data folder of Kaldi that an input is, or whose wav.scp it names."""
    store, name = split(uri)
    store = store if name == SCP else Store(uri)
    if store.is_local:
        return store if (store.directory / SCP).is_file() else None
    return store if not glob.has_magic(uri) and store.exists(SCP) else None


def _exists(uri: str) -> bool:
    store, name = split(uri)
    return store.exists(name)


def _objects(uri: str) -> tuple[Store, Iterable[StoredObject], Callable[[str], object]]:
    """The store to read from, the objects that an input may mean, paths relative to the store, and whether it
    means a path: a glob is passed the companions of other recordings too."""
    full = normalize_uri(uri)
    if full.startswith("file://"):
        path = local_path(full)
        if path.is_dir():
            store = Store(full)
            return store, walk(path), bool
        if not path.is_file() and not glob.has_magic(uri):
            raise SetupError(f"input {uri}: there is no such file or directory")
        if path.is_file():
            return *_one(full), bool
    elif "/" in full.partition("://")[2]:
        with suppress(FileNotFoundError):
            return *_one(full), bool
    store = Store(full)
    if glob.has_magic(uri) and (store.is_local or next(store.list(), None) is None):
        return _glob(full if "://" in uri else uri)
    return store, store.list(), bool


def _one(uri: str) -> tuple[Store, list[StoredObject]]:
    """A single file and the files that belong to it. Raises FileNotFoundError."""
    store, name = split(uri)
    objects = [store.head(name)]
    if store.is_local:
        names = {fold(one) for one in (name, name.rpartition(".")[0] or name)}
        beside = (entry for entry in files_in(store.directory) if extension(entry.path) in BESIDE)
        return store, [*objects, *(e for e in beside if fold(e.path.rpartition(".")[0]) in names)]
    for stem in sorted({name, name.rpartition(".")[0] or name}):
        for kind in BESIDE:
            with suppress(FileNotFoundError):
                objects.append(store.head(f"{stem}.{kind}"))
    return store, objects


def _glob(uri: str) -> tuple[Store, Iterator[StoredObject], Callable[[str], object]]:
    fixed: list[str] = []
    pattern: list[str] = []
    for part in uri.split("/"):
        (pattern if pattern or glob.has_magic(part) else fixed).append(part)
    store = Store("/".join(fixed) or ("/" if uri.startswith("/") else "."))
    matches = _translate("/".join(pattern)).match
    objects = walk(store.directory) if store.is_local else store.list()
    return store, (o for o in objects if _is_not_audio(o.path) or matches(o.path)), matches


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
) -> tuple[list[ListedRecording], int, tuple[str, ...]]:
    """Recordings with the files that belong to them, the number of ignored files, and stray companions.

    Ignored files are not kept in memory, because a listing can be very long.
    """
    found: list[StoredObject] = []
    beside: list[StoredObject] = []
    strays: list[str] = []
    ignored = 0
    for item in objects:
        kind = extension(item.path)
        if hidden(item.path):
            ignored += 1
        elif links is not None and item.etag not in REFUSALS and links.lead_out(item.path):
            if kind in BESIDE:
                strays.append(f"{item.path} (it is a link out of the folder)")
            elif kind in NOT_AUDIO:
                ignored += 1
            else:
                found.append(replace(item, etag=LEADS_OUT))
        elif kind in BESIDE:
            beside.append(item)
        elif kind in NOT_AUDIO or (not store.is_local and is_folder_marker(item)):
            ignored += 1
        elif not store.is_local and not can_request(item.path):
            found.append(replace(item, etag=BAD_KEY))
        else:
            found.append(item)
    files = FilesBeside(beside, [item.path for item in found])
    recordings = []
    found.reverse()
    while found:  # each object is freed as its recording is created, so that millions fit in memory
        item = found.pop()
        own = {
            kind: Companion(kind, store.join(file.path), file.etag)
            for kind, file in files.of(item.path).items()
        }
        sidecar = own.pop("json", None)
        uri, companions = store.join(item.path), tuple(own.values())
        recordings.append(ListedRecording(shown(item.path), uri, item.bytes, item.etag, sidecar, companions))
    for path in map(shown, files.strays()):
        if extension(path) == "txt":  # a licence, or notes
            ignored += 1
        else:
            strays.append(path)
    return recordings, ignored, tuple(strays)


def is_folder_marker(item: StoredObject) -> bool:
    """Whether a key is an empty object by which web consoles create a folder."""
    return item.bytes == 0 and not extension(item.path)


def _is_not_audio(path: str) -> bool:
    return extension(path) in NOT_AUDIO


def _distinct(found: list[tuple[str, list[ListedRecording]]]) -> Iterator[ListedRecording]:
    """Every recording once, with a unique id: equal ids are prefixed with the name of their root."""
    if len(found) == 1 and len({r.id for r in found[0][1]}) == len(found[0][1]):
        yield from found[0][1]  # the usual case, possibly with millions of recordings
        return
    by_uri = {r.uri: (uri, r) for uri, recordings in found for r in recordings}
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
