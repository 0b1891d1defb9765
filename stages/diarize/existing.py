"""Parser for companion files with an existing diarization or transcript: RTTM, STM, CTM and JSON lines."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.errors import DataError

PREFERENCE = ("stm", "jsonl", "rttm", "ctm")
"""Kinds of files in order of preference: those with both speakers and words come first."""


@dataclass(frozen=True)
class CompanionSegment:
    """A stretch of speech in a companion file; times in seconds."""

    start: float
    end: float
    speaker: str
    channel: int
    """Counted from 1."""
    text: str | None = None


def parse(
    kind: str, text: str, name: str, recording: str, pause: float, longest: float
) -> list[CompanionSegment]:
    """The segments in the text of a companion file, in order of start.

    `name` is the name of the file, for messages. In a file on several recordings, only the lines on
    `recording` are used. Words of a CTM are joined to segments, which end at pauses over `pause` seconds
    and after `longest` seconds. Raises DataError with file and line for an invalid line.
    """
    parse_line = {"rttm": _rttm, "stm": _stm, "ctm": _ctm, "jsonl": _jsonl}[kind]
    segments: list[tuple[str, CompanionSegment]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith((";;", "#")):
            continue
        try:
            segment = parse_line(line)
            if segment is not None:
                _check(segment[1])
                segments.append(segment)
        except (ValueError, KeyError, TypeError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            raise DataError("bad_companion", f"{name}, line {number}: {reason}") from error
    recordings = {of for of, _ in segments}
    if len(recordings) > 1:
        if recording not in recordings:
            raise DataError(
                "bad_companion", f"{name} is about {len(recordings)} recordings, none of them {recording}"
            )
        recordings = {recording}
    kept = sorted(
        (segment for of, segment in segments if of in recordings), key=lambda s: (s.start, s.channel, s.end)
    )
    return list(_from_words(kept, pause, longest)) if kind == "ctm" else kept


def _rttm(line: str) -> tuple[str, CompanionSegment] | None:
    fields = line.split()
    if fields[0] != "SPEAKER":
        return None
    if len(fields) < 8:
        raise ValueError(f"a SPEAKER line has at least 8 fields, this one {len(fields)}")
    start, seconds = _number(fields[3], "start"), _number(fields[4], "duration")
    return fields[1], CompanionSegment(start, start + seconds, fields[7], _channel(fields[2]))


def _stm(line: str) -> tuple[str, CompanionSegment] | None:
    """NIST's and pyannote's format differ only in the label `<o,f0,male>` before the text."""
    fields = line.split(maxsplit=5)
    if len(fields) < 5:
        raise ValueError(f"an STM line has at least 5 fields, this one {len(fields)}")
    text = fields[5] if len(fields) > 5 else ""
    if text.startswith("<") and ">" in text:
        text = text.partition(">")[2].strip()
    if fields[2] == "inter_segment_gap" or text.casefold() == "ignore_time_segment_in_scoring":
        return None
    start, end = _number(fields[3], "start"), _number(fields[4], "end")
    return fields[0], CompanionSegment(start, end, fields[2], _channel(fields[1]), text or None)


def _ctm(line: str) -> tuple[str, CompanionSegment] | None:
    fields = line.split()
    if len(fields) < 5:
        raise ValueError(f"a CTM line has at least 5 fields, this one {len(fields)}")
    start, seconds = _number(fields[2], "start"), _number(fields[3], "duration")
    channel = _channel(fields[1])
    return fields[0], CompanionSegment(start, start + seconds, f"channel_{channel}", channel, fields[4])


def _jsonl(line: str) -> tuple[str, CompanionSegment] | None:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("the line is not a JSON object")
    text = row.get("text")
    if text is not None and not isinstance(text, str):
        raise ValueError(f"text is {text!r}, not a string")
    channel = _channel(str(row.get("channel", 1)))
    segment = CompanionSegment(
        _number(row["start"], "start"), _number(row["end"], "end"), str(row["speaker"]), channel, text or None
    )
    return "", segment


def _number(value: str | float, field: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{field} is {value!r}, not a number of seconds") from None
    if not math.isfinite(number):
        raise ValueError(f"{field} is {value!r}, not a number of seconds")
    return number


def _channel(value: str) -> int:
    if value in ("A", "B"):
        return "AB".index(value) + 1
    if not value.isdigit() or int(value) > 64:
        raise ValueError(f"channel is {value!r}, not a number from 1 (or A, B)")
    return max(1, int(value))


def _check(segment: CompanionSegment) -> None:
    if segment.start < 0:
        raise ValueError(f"it starts at {segment.start:g} s, before the recording")
    if segment.end < segment.start:
        raise ValueError(f"it ends at {segment.end:g} s, before it starts at {segment.start:g} s")


def _from_words(words: list[CompanionSegment], pause: float, longest: float) -> Iterator[CompanionSegment]:
    """Segments joined from the words of each channel."""
    for channel in sorted({word.channel for word in words}):
        turn: CompanionSegment | None = None
        for word in (word for word in words if word.channel == channel):
            if turn and word.start - turn.end <= pause and word.end - turn.start <= longest:
                end = max(turn.end, word.end)
                turn = CompanionSegment(turn.start, end, turn.speaker, channel, f"{turn.text} {word.text}")
                continue
            if turn:
                yield turn
            turn = word
        if turn:
            yield turn
