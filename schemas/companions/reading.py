"""Reading a companion of any kind: one reader for every stage."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from schemas.companions.annotation import CompanionAnnotation, CompanionEntry, CompanionSegment, LineAside
from schemas.companions.audacity import labels
from schemas.companions.clip import CLIP, clip
from schemas.companions.elan import elan
from schemas.companions.json_lines import json_lines
from schemas.companions.lyrics import lrc
from schemas.companions.nist import ctm, rttm, stm
from schemas.companions.subtitles import srt, vtt
from schemas.companions.textgrid import textgrid
from schemas.errors import DataError
from schemas.text_files import fold, valid, western

_PARSERS: dict[str, Callable[[str], Iterable[CompanionEntry]]] = {
    "rttm": rttm,
    "stm": stm,
    "ctm": ctm,
    "jsonl": json_lines,
    "textgrid": textgrid,
    "eaf": elan,
    "vtt": vtt,
    "srt": srt,
    "lrc": lrc,
    "txt": labels,
    CLIP: clip,
}

_NUMBERS = r"(?:[ \t]+-?[\d.]+){2}"
_AFTER_NAME = {
    "rttm": rf"[ \t]+\S+{_NUMBERS}[ \t]+(?![\d.]+[ \t])",
    "ctm": rf"[ \t]+\S+{_NUMBERS}[ \t]+(?![\d.]+[ \t])",
    "stm": rf"(?:[ \t]+\S+){{2}}{_NUMBERS}(?!\S)",
}
"""What follows the name of a recording, which tells `take 1` from `take`."""

START_TOLERANCE = 0.5
"""Seconds before the recording at which a segment may start; it then starts at 0."""

SHORTEST = 0.001
"""Seconds of a segment below which it has no sound."""


def read(kind: str, text: str, name: str, recording: str) -> CompanionAnnotation:
    """What a companion says about `recording`, given by its id.

    `name` is the name of the file, for messages. A line that can't be used is set aside and the rest is kept.
    Of a file on several recordings only the lines on this one are used. Raises DataError `bad_companion` if
    no line can be used, or none is on this recording.
    """
    notes: list[str] = []
    if not valid(text) and (converted := western(text)) is not None:
        text = converted
        notes.append("it is not UTF-8 and was read as Windows-1252")
    if kind in _AFTER_NAME:
        text = _with_name_as_field(kind, text, recording)
    entries = [_checked(entry) for entry in _PARSERS[kind](text)]
    own, left = _of_recording(entries, name, recording)
    notes += left
    segments: list[CompanionSegment] = []
    aside: list[LineAside] = []
    moved, after_aside = 0, False
    for entry in own:
        segment = entry.segment
        if segment is None:
            if entry.trouble:
                aside.append(LineAside(entry.line, entry.trouble))
                if segments and segments[-1].word:
                    segments[-1] = replace(segments[-1], incomplete=True)
                after_aside = True
            continue
        moved += segment.start < 0
        incomplete = after_aside and segment.word
        segments.append(replace(segment, start=max(0.0, segment.start), incomplete=incomplete))
        after_aside = False
    if aside and not segments:
        more = f" (and {len(aside) - 1} more)" if len(aside) > 1 else ""
        raise DataError("bad_companion", f"{name}, line {aside[0].line}: {aside[0].reason}{more}")
    if moved:
        notes.append(f"{moved} of its turns start just before the recording: they start at 0")
    if len(distinct := list(dict.fromkeys(segments))) < len(segments):
        notes.append(f"{len(segments) - len(distinct)} of its lines say the same as others and were left out")
    segments = distinct
    segments.sort(key=lambda s: (s.start, s.channel or "", s.end))
    return CompanionAnnotation(tuple(segments), tuple(aside), tuple(notes))


def _with_name_as_field(kind: str, text: str, recording: str) -> str:
    """The text with the name of the recording as one field, if it has blanks."""
    names = sorted(filter(re.compile(r"\s").search, _as_named(recording)), key=len, reverse=True)
    if not names:
        return text
    named = "|".join(map(re.escape, names))
    return re.sub(
        rf"^((?:SPEAKER[ \t]+)?)({named})(?={_AFTER_NAME[kind]})",
        lambda found: found[1] + _one_field(found[2]),
        text,
        flags=re.MULTILINE | re.IGNORECASE,
    )


def _one_field(name: str) -> str:
    """A name as tools write it where fields are separated by blanks."""
    return re.sub(r"\s+", "_", name)


def _checked(entry: CompanionEntry) -> CompanionEntry:
    """The entry; without its segment if that is impossible."""
    trouble = entry.trouble or (_trouble(entry.segment) if entry.segment else "")
    return replace(entry, segment=None, trouble=trouble) if trouble else entry


def _trouble(segment: CompanionSegment) -> str:
    stated = f"{segment.speaker}{segment.text or ''}"
    if not valid(stated) or "\ufffd" in stated:
        return "its text is damaged: save it as UTF-8"
    if segment.start < -START_TOLERANCE:
        return f"it starts at {segment.start:g} s, before the recording"
    if segment.end < segment.start:
        return f"it ends at {segment.end:g} s, before it starts at {segment.start:g} s"
    if segment.end - max(segment.start, 0.0) < SHORTEST and not segment.word:
        return f"it lasts no time: it starts and ends at {segment.end:g} s"
    return ""


def _of_recording(
    entries: list[CompanionEntry], name: str, recording: str
) -> tuple[list[CompanionEntry], list[str]]:
    """The entries on a recording, and a note on those that aren't."""
    named = Counter(entry.recording for entry in entries if entry.segment)
    named.pop("", None)
    names = _names(recording)
    own = [other for other in named if fold(other) in names]
    own = own or [other for other in named if {fold(name) for name in _as_named(other)} & names]
    if not named or len(named) == len(own):
        return entries, []
    if not own:
        if len(named) > 1:
            raise DataError(
                "bad_companion",
                f"{name} is about {len(named)} recordings, none of them {_stem(recording)}",
            )
        (only,) = named
        return entries, [f"it calls the recording {only}"]
    others = sum(count for other, count in named.items() if other not in own)
    kept = [entry for entry in entries if entry.recording in ("", *own)]
    return kept, [f"{others} of its lines are on other recordings and were left out"]


def _names(recording: str) -> set[str]:
    """The names under which a file may mention a recording, folded."""
    return {fold(form) for name in _as_named(recording) for form in (name, _one_field(name))}


def _as_named(recording: str) -> set[str]:
    """A recording's path, its name, and its name without extension."""
    return {recording.rpartition("/")[2], _stem(recording), recording, recording.replace("/", "__")}


def _stem(recording: str) -> str:
    last = recording.rpartition("/")[2]
    return last.rpartition(".")[0] or last
