"""Where stages get their audio: recordings from storage, decoded once into a 16 kHz spool on local disk."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import numpy as np

from pipeline.inputs.manifests import INLINE
from pipeline.storage.store import split
from pipeline.storage.symlinks import LEADS_OUT
from schemas.errors import DataError
from schemas.recording import Recording
from stages.decode import decode_file
from stages.decode.config import DecodeConfig
from stages.stage import SAMPLE_RATE, Samples

_FORGOTTEN = 86_400.0
"""Seconds after which nobody writes any more at what is half written."""


LARGEST_TEXT = 64_000_000
"""Bytes of a file beside a recording: what a day of talk comes to as RTTM or JSON lines, some times over."""


class SpooledAudio:
    """An `AudioSource` over any storage. The spool is a cache: what is lost is decoded again."""

    def __init__(self, scratch: Path, config: DecodeConfig, fingerprint: str) -> None:
        self._folder = scratch / "spool" / fingerprint
        self._config = config

    @contextmanager
    def fetch(self, recording: Recording) -> Iterator[Path]:
        """The recording's own file, on local disk while the context is open."""
        if recording.etag == LEADS_OUT:
            raise DataError("leads_out", "it is a link to a place outside of the input's folder")
        store, name = split(recording.uri)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with store.local(name, self._folder) as path:
                with path.open("rb"):
                    pass
                yield path
        except FileNotFoundError as error:
            raise DataError("vanished", "the file is no longer there") from error
        except PermissionError as error:
            raise DataError("unreadable", "there is no permission to read the file") from error

    def spool(self, recording: Recording) -> Path:
        """Where the decoded FLAC of a recording lies, or is to be written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(f"{recording.uri}\n{recording.etag}".encode()).hexdigest()[:32]
        return self._folder / f"{name}.flac"

    def read(
        self, recording: Recording, track: int = 0, start: float = 0.0, end: float | None = None
    ) -> Samples:
        """Samples [n] of one track between two times in seconds, float32 at 16 kHz."""
        import soundfile

        with self._spooled(recording) as file, soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            first = min(max(0, round(start * SAMPLE_RATE)), sound.frames)
            last = sound.frames if end is None else min(round(end * SAMPLE_RATE), sound.frames)
            sound.seek(first)
            samples = sound.read(max(0, last - first), dtype="float32", always_2d=True)
        return np.ascontiguousarray(samples[:, track])

    def _spooled(self, recording: Recording) -> IO[bytes]:
        """The spool, open; decoded again where it never was on this node or another build dropped it."""
        path = self.spool(recording)
        while True:
            with suppress(FileNotFoundError):
                return path.open("rb")
            with self.fetch(recording) as raw:
                decode_file(raw, path, self._config)

    def sweep(self) -> None:
        """Delete what processes that were killed left half written."""
        for path in self._folder.glob("*"):
            with suppress(FileNotFoundError):
                if path.suffix != ".flac" and path.stat().st_mtime < time.time() - _FORGOTTEN:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def text(self, uri: str) -> str:
        """A small text file, or what a manifest says. Raises DataError where it can't be read."""
        if uri.startswith(INLINE):
            return unquote(uri.removeprefix(INLINE))
        store, name = split(uri)
        try:
            if store.head(name).bytes > LARGEST_TEXT:
                raise DataError("too_large", f"{name} has over {LARGEST_TEXT:,} bytes")
            return store.get(name).decode("utf-8-sig")
        except FileNotFoundError as error:
            raise DataError("vanished", f"{name} is no longer there") from error
        except UnicodeDecodeError as error:
            raise DataError("not_text", f"{name} is no UTF-8 text") from error

    def drop(self, recording: Recording) -> None:
        """Free the spool of a recording."""
        self.spool(recording).unlink(missing_ok=True)


def scratch_folder(configured: str | None) -> Path:
    """The local directory for what is only needed while a build runs."""
    return Path(configured) if configured else Path(tempfile.gettempdir()) / f"aqaa-data-{os.getuid()}"
