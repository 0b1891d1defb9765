"""Subtitles: SubRip (`.srt`) and WebVTT (`.vtt`)."""

import html
import re
from collections.abc import Iterator

from schemas.companions.annotation import CompanionEntry, CompanionSegment, has_words
from schemas.recording import UNKNOWN_SPEAKER
from schemas.text_files import lines

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_TAG = re.compile(r"</?[a-z0-9:.][^>]*>|\{\\[^}]*\}", re.IGNORECASE)
"""`<i>`, `</v>`, `<00:00:01.500>`, and `{\\an8}` of SubRip."""
_TIME_IN_CUE = re.compile(rf"<{_TIME}>")
"""Of recognised captions that roll up: the last line of a cue is shown again in the next one."""


def srt(text: str) -> Iterator[CompanionEntry]:
    """Cues of SubRip, which has no speakers: somebody speaks."""
    return _cues(text, voices=False)


def vtt(text: str) -> Iterator[CompanionEntry]:
    """Cues of WebVTT; `<v Name>` names the speaker."""
    return _cues(text, voices=True)


def _cues(text: str, voices: bool) -> Iterator[CompanionEntry]:
    rolls, shown = voices and bool(_TIME_IN_CUE.search(text)), ""
    for first, block in _blocks(text):
        timed = [index for index, line in enumerate(block) if "-->" in line]
        if not timed:
            if not _without_cue(block, voices):
                yield CompanionEntry(
                    first, "", None, "the text belongs to no cue: there is no line with times"
                )
            continue
        for index, following in zip(timed, [*timed[1:], len(block)], strict=True):
            # The number of the next cue, where no empty line comes before it.
            last = (
                following - 1
                if following < len(block) and block[following - 1].strip().isdigit()
                else following
            )
            said = block[index + 1 : last]
            if rolls:
                said = [line for line in said if _plain(line)]
                said = said[1:] if said and _plain(said[0]) == shown else said
                shown = _plain(said[-1]) if said else shown
            yield _cue(first + index, block[index], said, voices)


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, lines) of each run of lines that aren't empty; one with a space isn't."""
    block: list[str] = []
    for at, line in enumerate([*lines(text), ""], 1):
        if line:
            block.append(line)
        elif block:
            yield at - len(block), block
            block = []


def _without_cue(block: list[str], voices: bool) -> bool:
    """Whether a block is a header, a comment or a number that needs no times."""
    head = block[0].strip()
    special = voices and re.match(r"(WEBVTT|NOTE|STYLE|REGION)\b|X-TIMESTAMP-MAP", head)
    return bool(special) or all(line.strip().isdigit() or not line.strip() for line in block)


def _cue(at: int, times: str, said: list[str], voices: bool) -> CompanionEntry:
    matched = _TIMES.fullmatch(times)
    if not matched:
        return CompanionEntry(
            at, "", None, f"{times.strip()!r} is not `start --> end`, hours:minutes:seconds"
        )
    start, end = _seconds(*matched.groups()[:3]), _seconds(*matched.groups()[3:])
    joined = "\n".join(said)
    names = list(dict.fromkeys(" ".join(name.split()) for name in _VOICE.findall(joined))) if voices else []
    dashes = sum(bool(re.match(r"\s*(?:<[^>]*>)*\s*[-–—]\s*\S", line)) for line in said)
    if len(names) > 1 or dashes > 1:
        return CompanionEntry(at, "", None, "two voices speak in one cue, which doesn't say when")
    plain = _plain(joined)
    plain = " ".join(html.unescape(plain).split()) if voices else plain
    speaker = html.unescape(names[0]) if names else UNKNOWN_SPEAKER
    if not has_words(plain):
        return CompanionEntry(at, "", None)
    return CompanionEntry(at, "", CompanionSegment(start, end, speaker, None, plain))


def _plain(said: str) -> str:
    """Text without tags, in one line."""
    return " ".join(_TAG.sub("", _VOICE.sub("", said)).split())


def _seconds(hours: str | None, minutes: str, seconds: str) -> float:
    return round(int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", ".")), 6)
