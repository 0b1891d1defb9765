"""Audio for the stages: recordings from storage, decoded once into a 16 kHz FLAC spool on local disk."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np

from pipeline.inputs.recording_files import RecordingFiles
from pipeline.inputs.small_files import read_text
from pipeline.models import resolve
from schemas.errors import SetupError
from schemas.recording import Recording
from stages.decode import SEPARATED, Separator, decode_file, decode_song
from stages.decode.config import DecodeConfig
from stages.stage import SAMPLE_RATE, Samples

_ABANDONED = 86_400.0
"""Seconds after which a partly written file is abandoned: its writer was killed."""

UNUSED_DAYS = 7
"""Days after which a spool that nobody has read is deleted, by the next build on its machine."""

LARGEST_TEXT = 64_000_000
"""Maximum bytes of a file beside a recording: several times the RTTM or JSON Lines of a day of speech."""


class SpooledAudio:
    """An `AudioSource` over any storage. The spool is a cache: a missing file is decoded again.

    As a context manager it deletes at its end the spools that it had to decode itself, for readers outside
    the annotate stages, which delete theirs after the last stage:

        with SpooledAudio(scratch, config, fingerprint) as audio:
            samples = audio.read(recording, track=0, start=1.0, end=2.0)
    """

    def __init__(self, scratch: Path, config: DecodeConfig, fingerprint: str) -> None:
        self._scratch = scratch
        self._folder = _spool_folder(scratch) / fingerprint
        self._config = config
        self._decoded: list[Path] = []
        self._files = RecordingFiles()

    def __enter__(self) -> "SpooledAudio":
        self.sweep()
        return self

    def __exit__(self, *error: object) -> None:
        for path in self._decoded:
            path.unlink(missing_ok=True)
        self._decoded.clear()

    @contextmanager
    def fetch(self, recording: Recording) -> Iterator[Path]:
        """The recording's own file, on local disk while the context is open."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._files.local(recording.uri, recording.etag, self._folder) as path:
            yield path

    def spool(self, recording: Recording) -> Path:
        """The path of a recording's decoded FLAC, whether it exists or not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / _spool_name(recording.uri, recording.etag)

    def read(
        self, recording: Recording, track: int = 0, start: float = 0.0, end: float | None = None
    ) -> Samples:
        """Samples [n] of one track between two times in seconds, float32 at 16 kHz."""
        import soundfile

        with self._spooled(recording) as file, soundfile.SoundFile(file.fileno(), closefd=False) as flac:
            first = min(max(0, round(start * SAMPLE_RATE)), flac.frames)
            last = flac.frames if end is None else min(round(end * SAMPLE_RATE), flac.frames)
            flac.seek(first)
            samples = flac.read(max(0, last - first), dtype="float32", always_2d=True)
        return np.ascontiguousarray(samples[:, track])

    def _spooled(self, recording: Recording) -> IO[bytes]:
        """The open spool; decoded again if it was never on this node or another build deleted it."""
        path = self.spool(recording)
        while True:
            with suppress(FileNotFoundError):
                os.utime(path)  # so that `sweep` sees it in use
                return path.open("rb")
            with self.fetch(recording) as raw:
                decoded = recording.decode.result if recording.decode else None
                if decoded and any(note.kind == SEPARATED for note in decoded.notes):
                    decode_song(raw, path, self._config, self._separator)
                else:
                    decode_file(raw, path, self._config)
            self._decoded.append(path)

    @cached_property
    def _separator(self) -> Separator:
        """The separator of songs that are decoded again."""
        config = self._config.separator
        if config is None:
            raise SetupError("the vocals of a song were separated, and the recipe has no `decode.separator`")
        return Separator(resolve(config.model).path, config)

    def sweep(self) -> None:
        """Delete what killed processes left behind: partly written files, and spools that nobody reads."""
        now = time.time()
        for path in _spool_folder(self._scratch).glob("*/*"):
            with suppress(FileNotFoundError):
                limit = UNUSED_DAYS * 86_400.0 if path.suffix == ".flac" else _ABANDONED
                if path.stat().st_mtime < now - limit:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def text(self, uri: str) -> str:
        """A small text file, or the sidecar in a manifest. Raises DataError if it can't be read."""
        return read_text(uri, LARGEST_TEXT)

    def drop(self, recording: Recording) -> None:
        """Delete the spool of a recording."""
        self.spool(recording).unlink(missing_ok=True)


def drop_spools(scratch: Path, files: Iterable[tuple[str, str]]) -> int:
    """Delete all spools of recordings, given as (URI, tag), on this machine. Returns how many there were."""
    deleted = 0
    for uri, etag in files:
        for path in _spool_folder(scratch).glob(f"*/{_spool_name(uri, etag)}"):
            path.unlink(missing_ok=True)
            deleted += 1
    return deleted


def scratch_folder(configured: str | None) -> Path:
    """The local directory for files that are needed only while a build runs."""
    return Path(configured) if configured else Path(tempfile.gettempdir()) / f"aqaa-data-{os.getuid()}"


def _spool_folder(scratch: Path) -> Path:
    return scratch / "spool"


def _spool_name(uri: str, etag: str) -> str:
    return hashlib.sha256(f"{uri}\n{etag}".encode()).hexdigest()[:32] + ".flac"
