"""Archives as inputs: tar, also compressed by gzip, and zip. An archive is listed as a folder would be.

So WebDataset's tars are read, whose audio, JSON and text have one name: each recording of an archive has its
sidecar and its companions, and text beside it is what is said in it. Members are addresses of parts of the
archive and have its tag. Nothing is unpacked.
"""

import hashlib
import io
import os
import posixpath
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from pipeline.inputs.beside import BESIDE, NOT_AUDIO, FilesBeside, extension, hidden
from pipeline.inputs.inflated_file import GZIP, MOST_INFLATED, NO_BOMB, InflatedFile
from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.named_files import refused_row, shown
from pipeline.inputs.part import TAR, TAR_GZ, ZIP, FilePart
from pipeline.inputs.part_reading import DEFLATED, STORED
from pipeline.inputs.refusals import refused
from pipeline.inputs.small_files import packed
from pipeline.storage.store import Store, StoredObject
from schemas.companions import CLIP
from schemas.errors import DataError
from schemas.recording import Companion
from schemas.text_files import decoded, valid

_BLOCK = 512
_LARGEST_INLINE = 1_000_000
"""Maximum bytes of a text in a compressed tar, which is kept with the listing."""
_MOST_MEMBERS = 2_000_000
"""Of a zip, whose list of members is read at once."""


@dataclass(frozen=True, slots=True)
class Member(StoredObject):
    """A file in an archive: path in it, size, and its tag."""

    uri: str
    """Its address, or the text itself where that can't be addressed."""


def read_archive(store: Store, file: StoredObject, name: str) -> tuple[list[ListedRecording], int, list[str]]:
    """The recordings of an archive, the number of ignored members, and stray companions.

    `name` is the path of the archive, with which the ids of its members begin. Members that can't be used
    are set aside by name; so is what follows the place from which an archive can't be read.
    """
    found: dict[str, Member] = {}
    beside: dict[str, Member] = {}
    aside: list[ListedRecording] = []
    ignored = 0
    archive = store.join(file.path)
    try:
        for member in _members(store, file):
            kind = extension(member.path)
            if hidden(member.path):
                ignored += 1
            elif kind in BESIDE:
                beside[member.path] = member
            elif kind in NOT_AUDIO:
                ignored += 1
            else:
                found[member.path] = member
    except (DataError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        code = error.code if isinstance(error, DataError) else "damaged_archive"
        reason = error.message if isinstance(error, DataError) else str(error)
        if not found and not beside:
            aside.append(refused_row(archive, name, code, reason))
        else:
            where = f"{name}/(the rest after {len(found):,} recordings)"
            aside.append(refused_row(archive, where, code, reason))
    files = FilesBeside(beside.values(), list(found))
    for path, member in found.items():
        own = {kind: beside[one.path] for kind, one in files.of(path).items()}
        aside.append(
            ListedRecording(
                f"{name}/{shown(path)}",
                member.uri,
                member.bytes,
                member.etag,
                Companion("json", own["json"].uri, own["json"].etag) if "json" in own else None,
                tuple(_companions(own)),
            )
        )
    return aside, ignored, [f"{name}/{shown(path)}" for path in files.strays()]


def _companions(own: dict[str, Member]) -> Iterator[Companion]:
    for kind, member in own.items():
        # JSON that has a text, and text alone, are about all of a recording.
        yield Companion(CLIP if kind in ("json", "txt") else kind, member.uri, member.etag)


def _members(store: Store, file: StoredObject) -> Iterator[Member]:
    """The files in an archive, by what it is. Raises DataError and others if it can't be read on."""
    with store.open(file.path) as opened:
        first = opened.read(4)
        opened.seek(0)
        if first.startswith(GZIP):
            with io.BufferedReader(InflatedFile(opened), 1024 * 1024) as inflated:
                yield from _tar_members(inflated, store.join(file.path), file, TAR_GZ)
        elif first.startswith(b"PK"):
            yield from _zip_members(opened, store.join(file.path), file)
        else:
            yield from _tar_members(opened, store.join(file.path), file, TAR)


def _tar_members(opened: IO[bytes], archive: str, file: StoredObject, kind: str) -> Iterator[Member]:
    """The files in a tar; after a damaged header, those after it."""
    with tarfile.open(fileobj=opened, mode="r:", ignore_zeros=False) as tar:
        tar.ignore_zeros = True  # from the second header on: the first says whether it is a tar
        end = 0
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # so that a long archive needs no memory
            if info.offset > end and _damaged(opened, end):
                yield _refused_at(archive, end)
            opened_at = info.offset_data
            end = opened_at + -(-info.size // _BLOCK) * _BLOCK if info.isreg() else tar.offset
            if kind == TAR and opened_at + (info.size if info.isreg() else 0) > file.bytes:
                yield _refused(
                    archive, _clean(info.name), "truncated", "the archive ends in the middle of it"
                )
                return
            if info.isdir():
                continue
            path = _clean(info.name)
            if trouble := _leads_out(info.name) or _no_file(info):
                yield _refused(archive, path, *trouble)
                continue
            part = FilePart.of(kind, archive, (opened_at, info.size), os.fsencode(path))
            uri, etag = part.uri, file.etag
            if kind == TAR_GZ and extension(path) in BESIDE:
                uri, etag = _inline(opened, opened_at, info.size, path)
            yield Member(path, info.size, etag, 0.0, uri)
        if _damaged(opened, end):
            yield _refused_at(archive, end)


def _inline(opened: IO[bytes], at: int, size: int, path: str) -> tuple[str, str]:
    """URI and tag of a text that is kept with the listing."""
    opened.seek(at)
    text = decoded(opened.read(min(size, _LARGEST_INLINE)))
    if not valid(text):
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return packed(text, path.rpartition("/")[2]), hashlib.sha256(text.encode()).hexdigest()[:16]


def _damaged(opened: IO[bytes], at: int) -> bool:
    """Whether there is neither a header where one is expected, nor zeros."""
    opened.seek(at)
    block = opened.read(_BLOCK)
    if not any(block):
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return True
    return False


def _no_file(info: tarfile.TarInfo) -> tuple[str, str] | None:
    if info.issym() or info.islnk():
        return "link", f"it is a link to {info.linkname}: links in archives are not followed"
    if not info.isreg() or info.issparse():
        return "not_a_file", "it is a pipe, a device or a sparse file"
    return None


def _zip_members(opened: IO[bytes], archive: str, file: StoredObject) -> Iterator[Member]:
    with zipfile.ZipFile(opened) as found:
        infos = found.infolist()
        if len(infos) > _MOST_MEMBERS:
            raise DataError(
                "too_large", f"it has {len(infos):,} members, more than {_MOST_MEMBERS:,}: use tar"
            )
        for info in infos:
            name = info.filename.replace("\\", "/")
            if info.is_dir():
                continue
            path = _clean(name)
            if trouble := _leads_out(name) or _unreadable(info):
                yield _refused(archive, path, *trouble)
                continue
            place = (info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC)
            uri = FilePart.of(ZIP, archive, place, os.fsencode(path)).uri
            yield Member(path, info.file_size, file.etag, 0.0, uri)


def _unreadable(info: zipfile.ZipInfo) -> tuple[str, str] | None:
    if info.flag_bits & 1:
        return "encrypted", "it is encrypted"
    if info.compress_type not in (STORED, DEFLATED):
        return "compression", f"it is compressed by method {info.compress_type}: only deflate is read"
    mode = info.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        return "link", "it is a link, or no file: neither is read from archives"
    if info.file_size > max(NO_BOMB, MOST_INFLATED * info.compress_size):
        return "bomb", f"it claims {info.file_size:,} bytes, over {MOST_INFLATED} times those it has"
    return None


def _clean(name: str) -> str:
    """A name without `./` and double slashes."""
    return posixpath.normpath(name).lstrip("/")


def _leads_out(name: str) -> tuple[str, str] | None:
    if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
        return "leads_out", f"its path in the archive, {name}, leads out of it"
    return None


def _refused(archive: str, path: str, code: str, message: str) -> Member:
    """A member that can't be used; one that leads out is named without what leads out."""
    name = re.sub(r"^(\.\./)+", "", path)
    return Member(name, 0, refused(code, message), 0.0, f"{archive}#{name}")


def _refused_at(archive: str, at: int) -> Member:
    name = f"(damaged at byte {at})"
    message = f"the archive has no valid header at byte {at:,}; what follows the damage is read"
    return Member(name, 0, refused("damaged_member", message), 0.0, f"{archive}#{name}")
