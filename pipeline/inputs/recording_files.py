"""The file of a recording on local disk: the file itself, a download, or a copy of a part of a file."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from urllib.parse import unquote

from pipeline.inputs.inflated_file import InflatedFile
from pipeline.inputs.part import PARQUET, TAR_GZ, FilePart
from pipeline.inputs.part_reading import member_bytes, pieces
from pipeline.inputs.refusals import refusal_of
from pipeline.inputs.table_audio import TableAudio
from pipeline.storage.store import split
from schemas.errors import DataError, SetupError


class RecordingFiles:
    """Opens recordings wherever they are. Keeps the archive and the row group that it has read last."""

    def __init__(self) -> None:
        self._inflated: tuple[tuple[str, str], io.BufferedReader] | None = None
        self._inflating = Lock()
        self._tables = TableAudio()

    @contextmanager
    def local(self, uri: str, etag: str, folder: Path | None = None) -> Iterator[Path]:
        """A recording as a local file while the context is open; a copy is in `folder`.

        Raises DataError if it can't be opened, or if the archive that it is in has changed.
        """
        if refusal := refusal_of(etag):
            raise DataError(*refusal)
        try:
            part = FilePart.parse(uri)
            if part:
                with tempfile.TemporaryDirectory(prefix="aqaa-data-", dir=folder) as copies:
                    target = Path(copies) / (Path(unquote(part.name)).name[-50:] or "part")
                    self._copy(part, etag, target)
                    yield target
                return
            store, name = split(uri)
            with store.local(name, folder) as path:
                with path.open("rb"):
                    pass
                yield path
        except FileNotFoundError as error:
            raise DataError("vanished", "the file is no longer there") from error
        except PermissionError as error:
            raise DataError("unreadable", "there is no permission to read the file") from error

    def _copy(self, part: FilePart, etag: str, target: Path) -> None:
        store, name = split(part.file)
        if store.head(name).etag != etag:
            raise DataError("changed", f"{name} has changed since it was listed: run the build again")
        with target.open("wb") as out:
            for piece in self._bytes(part, etag):
                try:
                    out.write(piece)
                except OSError as error:
                    raise SetupError(
                        f"can't write to {target.parent}: {error.strerror}: free some space, or set "
                        "`scratch` to another disk"
                    ) from error

    def _bytes(self, part: FilePart, etag: str) -> Iterator[bytes]:
        if part.kind == PARQUET:
            yield self._tables.read(part, etag)
        elif part.kind == TAR_GZ:
            with self._inflating:
                file = self._inflated_file(part.file, etag)
                start, size = part.place
                file.seek(start)
                yield from pieces(file, size)
        else:
            yield from member_bytes(part)

    def _inflated_file(self, uri: str, etag: str) -> io.BufferedReader:
        """An archive compressed by gzip, open where it was left."""
        if self._inflated is None or self._inflated[0] != (uri, etag):
            if self._inflated:
                self._inflated[1].close()
            store, name = split(uri)
            self._inflated = (uri, etag), io.BufferedReader(InflatedFile(store.open(name)), 1024 * 1024)
        return self._inflated[1]
