"""NIST's formats, with fields in columns: RTTM (speakers), STM (speakers and text), CTM (words)."""

import re
from collections.abc import Callable, Iterator

from schemas.companions.annotation import CompanionEntry, CompanionSegment, channel, number
from schemas.recording import UNKNOWN_SPEAKER
from schemas.text_files import lines

_BLANKS = " \t\r\f\v"
_NO_WORD = {"<eps>", "<sil>", "sil", "!sil", "[sil]", "<na>"}
"""What aligners write for silence, in lower case."""
_ALTERNATIVES = re.compile(r"\{([^{}/]*)/[^{}]*\}")
_SOUNDS = {"non-lex", "misc", "noise", "noscore"}
"""Types of CTM tokens that aren't words."""


def rttm(text: str) -> Iterator[CompanionEntry]:
    """`SPEAKER file channel start duration <NA> <NA> speaker ..`; lines of other types are skipped."""

    def entry(line: str) -> tuple[str, CompanionSegment] | None:
        fields = _fields(line)
        if fields[0] != "SPEAKER":
            return None
        if len(fields) < 8:
            raise ValueError(f"a SPEAKER line has at least 8 fields, this one {len(fields)}")
        start, seconds = number(fields[3], "start"), number(fields[4], "duration")
        speaker = UNKNOWN_SPEAKER if fields[7] == "<NA>" else fields[7]
        return fields[1], CompanionSegment(start, start + seconds, speaker, channel(fields[2]))

    return _entries(text, entry)


def stm(text: str) -> Iterator[CompanionEntry]:
    """`file channel speaker start end [<label>] text`, with a label by NIST, without by pyannote.

    Of alternatives such as `{ colour / color / @ }`, the first is read; `@` stands for nothing.
    """

    def entry(line: str) -> tuple[str, CompanionSegment] | None:
        fields = _fields(line, 5)
        if len(fields) < 5:
            raise ValueError(f"an STM line has at least 5 fields, this one {len(fields)}")
        said = fields[5] if len(fields) > 5 else ""
        if said.startswith("<") and ">" in said:
            said = said.partition(">")[2].strip()
        said = _ALTERNATIVES.sub(lambda found: found[1].strip().removeprefix("@"), said).strip()
        if fields[2] == "inter_segment_gap" or said.casefold() == "ignore_time_segment_in_scoring":
            return None
        start, end = number(fields[3], "start"), number(fields[4], "end")
        return fields[0], CompanionSegment(start, end, fields[2], channel(fields[1]), said or None)

    return _entries(text, entry)


def ctm(text: str) -> Iterator[CompanionEntry]:
    """`file channel start duration word [confidence [type [speaker]]]`; without a speaker, a channel is one.

    Of alternatives, the first is read.
    """
    alternative = 0

    def entry(line: str) -> tuple[str, CompanionSegment] | None:
        nonlocal alternative
        fields = _fields(line)
        mark = fields[4].upper() if len(fields) > 4 else ""
        if mark in ("<ALT_BEGIN>", "<ALT>", "<ALT_END>"):
            alternative = {"<ALT_BEGIN>": 1, "<ALT>": alternative + 1, "<ALT_END>": 0}[mark]
            return None
        if len(fields) < 5:
            raise ValueError(f"a CTM line has at least 5 fields, this one {len(fields)}")
        start, seconds = number(fields[2], "start"), number(fields[3], "duration")
        name = channel(fields[1])
        confidence, kind, speaker = (*fields[5:8], "", "", "")[:3]
        if alternative > 1 or fields[4].casefold() in _NO_WORD or kind.casefold() in _SOUNDS:
            return None
        if speaker in ("", "<NA>"):
            speaker = "" if name else UNKNOWN_SPEAKER
        word = CompanionSegment(
            start, start + seconds, speaker, name, fields[4], word=True, probability=_probability(confidence)
        )
        return fields[0], word

    return _entries(text, entry)


def _entries(
    text: str, entry: Callable[[str], tuple[str, CompanionSegment] | None]
) -> Iterator[CompanionEntry]:
    for at, line in enumerate(lines(text), 1):
        line = line.strip(_BLANKS)
        if not line or line.startswith((";;", "#")):
            continue
        try:
            found = entry(line)
        except ValueError as error:
            yield CompanionEntry(at, "", None, str(error))
        else:
            if found:
                yield CompanionEntry(at, *found)


def _fields(line: str, most: int = 0) -> list[str]:
    """Fields between blanks. Unlike with `str.split`, a name may hold other white space."""
    return re.split(f"[{_BLANKS}]+", line, maxsplit=most)


def _probability(confidence: str) -> float | None:
    """A confidence, 0..1; None for `<NA>` and other scales."""
    if confidence in ("", "<NA>", "NA", "-"):
        return None
    try:
        value = float(confidence)
    except ValueError:
        raise ValueError(f"confidence is {confidence!r}, not a number") from None
    return value if 0 <= value <= 1 else None
