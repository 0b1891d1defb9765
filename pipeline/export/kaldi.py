"""Kaldi's data folder: wav.scp, segments, text, utt2spk, spk2utt, utt2lang and reco2dur, sorted by bytes."""

import heapq
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import IO

from pipeline.export.annotated import ExportedRecording
from pipeline.export.names import field
from pipeline.versions.inspect import Row
from schemas.errors import SetupError

_RUN = 100_000
"""Lines in memory at a time."""


def write_kaldi(recordings: Iterable[ExportedRecording], folder: Path) -> None:
    """Write the files for the turns with text. Each channel of a recording is a recording of Kaldi's.

    The id of an utterance begins with its speaker's, and that with the recording's key, as speakers are
    those of one recording. Audio that isn't a WAV file with one channel is decoded by ffmpeg in a pipe.
    """
    names = ("wav.scp", "reco2dur", "segments", "text", "utt2spk", "utt2lang")
    with ExitStack() as stack:
        scp, durations, segments, text, speakers, languages = (
            stack.enter_context(_SortedFile(folder / name)) for name in names
        )
        for recording in recordings:
            if not recording.recording.uri.startswith("file://"):
                raise SetupError(
                    f"Kaldi reads local files only, and {recording.path} isn't one: export lhotse or hf"
                )
            ids = _SpeakerIds()
            written = set()
            for row in recording.rows:
                words = " ".join((row["text"] or "").split())
                if not words:
                    continue
                channels = recording.channels(row)
                source = _source(recording, channels)
                if source not in written:
                    written.add(source)
                    scp.add(f"{source} {_audio(recording, channels)}")
                    durations.add(f"{source} {recording.decoded.seconds:.3f}")
                speaker = ids.of(row)
                utterance = f"{speaker}-{row['index']:05d}"
                segments.add(f"{utterance} {source} {row['start']:.3f} {row['end']:.3f}")
                text.add(f"{utterance} {words}")
                speakers.add(f"{utterance} {speaker}")
                languages.add(f"{utterance} {field(row['language'] or 'und')}")
    with (folder / "utt2spk").open(encoding="utf-8", newline="\n") as pairs:
        by_speaker = groupby((line.split() for line in pairs), lambda pair: pair[1])
        with (folder / "spk2utt").open("w", encoding="utf-8") as out:
            for speaker, of_speaker in by_speaker:
                out.write(" ".join([speaker, *(utterance for utterance, _ in of_speaker)]) + "\n")


def _source(recording: ExportedRecording, channels: tuple[int, ...]) -> str:
    """Id of one channel of a recording, or of its mix."""
    name = field(recording.name)
    return f"{name}-channel-{channels[0] + 1}" if len(channels) < recording.decoded.channels else name


def _audio(recording: ExportedRecording, channels: tuple[int, ...]) -> str:
    """What wav.scp names: a file, or a command that writes WAV."""
    decoded = recording.decoded
    if decoded.channels == 1 and decoded.container == "wav" and decoded.codec.startswith("pcm_"):
        return recording.path
    mix = "+".join(f"{1 / len(channels):.6g}*c{channel}" for channel in channels)
    picked = "" if decoded.channels == 1 else f" -af 'pan=mono|c0={mix}'"
    stream = f" -map 0:a:{decoded.stream}" if decoded.stream else ""
    return f"ffmpeg -v error -i {shlex.quote(recording.path)}{stream}{picked} -f wav -c:a pcm_s16le - |"


class _SpeakerIds:
    """Ids of the speakers of one recording: of letters, digits and `_` alone, which sort after the `-` that
    separates the parts of an id, so that utterances are sorted by speaker too."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def of(self, row: Row) -> str:
        name = row["speaker"]
        if name not in self._ids:
            plain = re.sub(r"\W", "_", name)
            while plain in self._ids.values():
                plain += "_"
            self._ids[name] = plain
        return f"{row['key'].partition('-')[0]}-{self._ids[name]}"


class _SortedFile:
    """A file whose lines are sorted by their bytes when it is closed; sorted runs are kept on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._runs: list[IO[bytes]] = []

    def __enter__(self) -> "_SortedFile":
        return self

    def add(self, line: str) -> None:
        # The bytes of a file's name that are not UTF-8 stay as they are, as Kaldi reads bytes.
        self._lines.append(f"{line}\n".encode(errors="surrogateescape"))
        if len(self._lines) >= _RUN:
            run = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115
            run.writelines(sorted(self._lines))
            run.seek(0)
            self._runs.append(run)
            self._lines = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._path.open("wb") as out:
                out.writelines(self._merged())
        for run in self._runs:
            run.close()

    def _merged(self) -> Iterator[bytes]:
        return heapq.merge(*self._runs, sorted(self._lines))
