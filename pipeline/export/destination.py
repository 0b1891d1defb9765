"""Where an export is written to: a folder or a prefix that gets the files of one part after the other.

Several parts are made at once. What is made stays when the export is stopped, and the same export goes on
from there. Until it is finished it keeps under `.unfinished` what it is an export of, what each part has
counted, and each part's piece of the files that are joined at the end.
"""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event

from pipeline.export.exported import Exported
from pipeline.storage.store import Store
from pipeline.storage.uri import local_path, normalize_uri
from schemas.errors import SetupError

UNFINISHED = ".unfinished"
REQUEST = f"{UNFINISHED}/export.json"
MADE = "made.json"
SCRATCH = "aqaa-data-export-"

Job = Callable[[Path], Exported]
"""Writes the files of a part into a folder."""


class Destination:
    """A folder or a prefix, for one export."""

    def __init__(self, uri: str, request: Mapping[str, object]) -> None:
        """`request` says what is exported: an unfinished export goes on if its request was the same.

        Raises SetupError where there are other files already, and if it can't be written.
        """
        self._uri = uri
        self._store = Store(normalize_uri(uri))
        self._folder = local_path(self._store.uri) if self._store.is_local else None
        self._stop = Event()
        with self._told():
            if self._folder:
                self._folder.mkdir(parents=True, exist_ok=True)
            self._begin(dict(request))

    def has(self, path: str) -> bool:
        """Whether a file is there already."""
        return self._store.exists(path)

    @property
    def stopped(self) -> bool:
        """Whether the export ends early, so that the parts that are being made are in vain."""
        return self._stop.is_set()

    def make(self, jobs: Sequence[Job], joined: tuple[str, ...], progress: Callable[[str], None]) -> Exported:
        """Make the parts that aren't made yet, as many at once as there are cores.

        Files whose names end in one of `joined` are pieces, for `finish`; all others are the export's own.
        """
        done = self._done()
        try:
            with self._told(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                tasks = {
                    pool.submit(self._make_part, number, job, joined): number
                    for number, job in enumerate(jobs)
                    if number not in done
                }
                try:
                    for task in as_completed(tasks):
                        done[tasks[task]] = task.result()
                        progress(f"{len(done):,} of {len(jobs):,} parts written")
                except BaseException:
                    self._stop.set()
                    pool.shutdown(cancel_futures=True)
                    raise
        except BaseException:
            if not self._done():
                self._clear()
            raise
        return Exported.total(done.values())

    def finish(self, complete: Callable[[Path], None]) -> None:
        """Join the pieces of each file in the order of the parts, and let `complete` write what concerns the
        whole into the folder where the joined files are."""
        with self._told():
            with self._scratch() as folder:
                for piece in sorted(self._unfinished()):
                    _, part, *rest = piece.split("/")
                    if part.isdecimal() and rest != [MADE]:
                        name = "/".join(rest)
                        (folder / name).parent.mkdir(parents=True, exist_ok=True)
                        with self._store.open(piece) as source, (folder / name).open("ab") as file:
                            shutil.copyfileobj(source, file)
                complete(folder)
                self._put_files(folder, ())
            self._clear()

    def _begin(self, request: dict[str, object]) -> None:
        """Note what is exported, or see that it is what is exported here already."""
        with suppress(FileNotFoundError):
            if json.loads(self._store.get(REQUEST)) == request:
                return
            raise SetupError(
                f"{self._uri} has an unfinished export of something else: name another folder or prefix, or "
                "delete it"
            )
        if self._folder:
            names = iter(sorted(path.name for path in self._folder.iterdir()))
        else:
            names = (file.path for file in self._store.list())
        if found := next((name for name in names if not name.startswith(UNFINISHED)), None):
            kind = "a new or an empty folder" if self._folder else "a new prefix"
            raise SetupError(f"{self._uri} has files already, such as {found}: name {kind}")
        self._store.check_writable()
        self._store.put(REQUEST, json.dumps(request, sort_keys=True).encode())

    def _done(self) -> dict[int, Exported]:
        """Number of each part that is made -> what it counted."""
        parts = (path.split("/") for path in self._unfinished())
        made = [int(part[1]) for part in parts if part[1].isdecimal() and part[2:] == [MADE]]
        return {number: Exported(**json.loads(self._store.get(_made(number)))) for number in made}

    def _make_part(self, number: int, job: Job, joined: tuple[str, ...]) -> Exported:
        with self._scratch() as folder:
            exported = job(folder)
            self._put_files(folder, joined, f"{UNFINISHED}/{number:06d}")
        self._store.put(_made(number), json.dumps(asdict(exported)).encode())
        return exported

    def _put_files(self, folder: Path, pieces: tuple[str, ...], under: str = "") -> None:
        """Move the files of a folder to the destination; those whose names end in one of `pieces`, below
        `under`."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = file.relative_to(folder).as_posix()
            path = f"{under}/{name}" if file.name.endswith(pieces) else name
            if self._folder:
                (target := self._folder / path).parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
            else:
                self._store.put_new(path, file)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A folder on local disk; that of the destination where it is local, so that files can be moved."""
        where = self._folder and self._folder / UNFINISHED
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=where) as folder:
            yield Path(folder)

    def _unfinished(self) -> list[str]:
        """Paths of what is kept until the export is finished."""
        return [file.path for file in self._store.list(f"{UNFINISHED}/")]

    def _clear(self) -> None:
        """Delete what is kept until the export is finished; a killed one then counts as finished."""
        if self._folder:
            (self._folder / UNFINISHED / "export.json").unlink(missing_ok=True)
            shutil.rmtree(self._folder / UNFINISHED, ignore_errors=True)
        else:
            self._store.delete([REQUEST])
            self._store.delete(self._unfinished())

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what can't be written, and what to do."""
        try:
            yield
        except OSError as error:
            where = error.filename or self._folder or self._uri
            remedy = (
                "make room there, or name a folder on another disk"
                if error.errno in (errno.ENOSPC, errno.EDQUOT)
                else "name a folder that you may write to"
            )
            raise SetupError(f"can't write {where}: {error.strerror or error}: {remedy}") from error


def _made(number: int) -> str:
    return f"{UNFINISHED}/{number:06d}/{MADE}"
