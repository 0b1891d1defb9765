"""Recordings that rows of another tool's manifest name, with the turns that the rows state.

Rows on one file are one recording: its turns become a companion, as a `.jsonl` beside it would be, and the
fields on which all of its rows agree become its sidecar.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.named_files import id_of, inline_sidecar, named_uri, refused_row, size_and_tag
from pipeline.inputs.small_files import packed
from pipeline.storage.store import Store
from schemas.companions import THE_END
from schemas.errors import DataError, SetupError
from schemas.recording import UNKNOWN_SPEAKER, Companion

Words = Sequence[tuple[Any, ...]]
"""(start, duration, word, confidence) of words of a turn."""

_REQUESTS = 32
"""Concurrent requests for the sizes of recordings."""


@dataclass(frozen=True, slots=True)
class RowTurn:
    """A turn as a row states it. Its values are checked with those of all companions, when it is used."""

    start: Any
    """Seconds."""
    end: Any
    """None: until the end of the recording."""
    speaker: Any = None
    text: Any = None
    channel: int | None = None
    """From 1."""

    @property
    def says_something(self) -> bool:
        """Whether it says more than that there is a recording."""
        return bool(self.speaker or self.text or self.start)

    @property
    def line(self) -> str:
        """A line of a `.jsonl` companion."""
        speaker = UNKNOWN_SPEAKER if self.speaker in (None, "") else self.speaker
        end = THE_END if self.end is None else self.end
        row = {"start": self.start, "end": end, "speaker": speaker}
        row |= {"text": self.text} if self.text is not None else {}
        row |= {"channel": self.channel} if self.channel is not None else {}
        return json.dumps(row, ensure_ascii=False, default=str)


def given_companion(turns: Iterable[str], manifest: str) -> Companion:
    """The companion of turns, given as lines; `manifest` is named in messages about them."""
    return _companion("jsonl", turns, manifest)


def _companion(kind: str, lines: Iterable[str], manifest: str) -> Companion:
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace").decode()
    uri = packed(text, f"its rows of {manifest}")
    return Companion(kind, uri, hashlib.sha256(text.encode()).hexdigest()[:16])


def _confidence(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and 0 <= value <= 1 else "<NA>"


@dataclass
class _Rows:
    fields: dict[str, Any]
    turns: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    """Lines of a CTM."""
    companions: tuple[Companion, ...] = ()
    says_something: bool = False
    member: ListedRecording | None = None
    """The recording itself, where it is a member of an archive."""

    def add_words(self, words: Words) -> None:
        for start, seconds, word, confidence in words:
            if spoken := "_".join(str(word).split()):
                self.words.append(f"recording 1 {start} {seconds} {spoken} {_confidence(confidence)}")


class GivenRecordings:
    """Collects the rows of a manifest and lists the recordings that they are about."""

    def __init__(self, folder: Store, manifest: str) -> None:
        """`folder` is that of the manifest, to which its paths are relative."""
        self._folder = folder
        self._manifest = manifest
        self._rows: dict[str, _Rows] = {}
        self._refused: list[ListedRecording] = []

    def add(
        self,
        where: str,
        path: Any,
        turn: RowTurn | None,
        fields: dict[str, Any],
        companions: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Take a row on a file; `companions` are the (kind, path) of files that the row names.

        A row that doesn't name a file is set aside.
        """
        try:
            uri = self._uri(path)
            uris = [(kind, self._uri(of)) for kind, of in companions]
        except DataError as error:
            self.refuse(where, error.code, error.message)
            return
        known = self._rows.get(uri)
        if known is None:
            files = tuple(Companion(kind, of, size_and_tag(of)[1]) for kind, of in uris)
            known = self._rows[uri] = _Rows(fields, companions=files)
        elif known.fields != fields:
            known.fields = {n: v for n, v in known.fields.items() if n in fields and fields[n] == v}
        if turn is not None:
            known.turns.append(turn.line)
            known.says_something |= turn.says_something

    def add_member(
        self, member: ListedRecording, turn: RowTurn | None, fields: dict[str, Any], words: Words = ()
    ) -> None:
        """Take a row on a member of an archive."""
        rows = self._rows.setdefault(member.uri, _Rows(fields, member=member))
        rows.fields = {n: v for n, v in rows.fields.items() if n in fields and fields[n] == v}
        if turn is not None:
            rows.turns.append(turn.line)
            rows.says_something |= turn.says_something
        rows.add_words(words)

    def say(self, where: str, path: str, turn: RowTurn, words: Words = ()) -> None:
        """Add a turn to a recording that was added, with its words: (start, duration, word, confidence)."""
        try:
            rows = self._rows[self._uri(path)]
        except DataError:
            return  # the recording was refused
        rows.turns.append(turn.line)
        rows.says_something = True
        rows.add_words(words)

    def refuse(self, where: str, code: str, message: str) -> None:
        """Set a row aside by name."""
        self._refused.append(refused_row(self._folder.join(self._manifest), where, code, message))

    def listed(self) -> list[ListedRecording]:
        """The recordings, and the rows that were set aside."""
        with ThreadPoolExecutor(_REQUESTS) as pool:
            files = pool.map(_file, self._rows.items())
            recordings = [
                self._recording(uri, rows, *file)
                for (uri, rows), file in zip(self._rows.items(), files, strict=True)
            ]
        return [*recordings, *self._refused]

    def _uri(self, path: Any) -> str:
        if not isinstance(path, str) or not path.strip():
            raise DataError("bad_row", f"the file is {path!r}, not a path")
        try:
            return named_uri(self._folder, path)
        except (SetupError, ValueError) as error:
            raise DataError("bad_row", str(error)) from error

    def _recording(self, uri: str, rows: _Rows, size: int, etag: str) -> ListedRecording:
        companions = rows.companions
        if rows.says_something:
            companions = (given_companion(rows.turns, self._manifest), *companions)
        if rows.words:
            companions = (*companions, _companion("ctm", rows.words, self._manifest))
        sidecar = inline_sidecar(rows.fields)
        id = rows.member.id if rows.member else id_of(self._folder, uri)
        return ListedRecording(id, uri, size, etag, sidecar, companions)


def _file(item: tuple[str, _Rows]) -> tuple[int, str]:
    """Size and tag of the file of some rows."""
    uri, rows = item
    return (rows.member.bytes, rows.member.etag) if rows.member else size_and_tag(uri)
