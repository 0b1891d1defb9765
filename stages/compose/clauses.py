"""A monologue cut into clauses, each with its text and its own code groups, from the times of its words."""

from dataclasses import dataclass

from schemas.errors import DataError
from schemas.layout import GROUP_SECONDS, cut_groups, group_count
from schemas.recording import Word
from schemas.sample import Clip, Speech, Text
from stages.compose.config import ComposeConfig
from stages.compose.source import SourceSpan

_ENDS = tuple(".,;:!?…。，、；：！？")
_CLOSING = "\"'”’»)]）」』"


@dataclass(frozen=True)
class Clause:
    text: Text
    speech: Speech


def clauses(said: SourceSpan, config: ComposeConfig) -> list[Clause]:
    """The clauses of a turn; every group of its codes belongs to exactly one.

    A clause ends at punctuation or a pause, in the middle of the silence and at the next whole group. Raises
    DataError `no_words` without word times, and what `SourceSpan.speech` raises.
    """
    whole = said.speech
    turn = said.turn
    words = turn.transcript.words if turn and turn.transcript else ()
    if not words:
        raise DataError("no_words", "it is not known when each word is said")
    groups = group_count(whole.codes)
    cuts = [0]
    """Group with which each clause begins."""
    texts = [""]
    begun = words[0].start
    for n, word in enumerate(words):
        texts[-1] += word.text
        if n + 1 == len(words):
            break
        following = words[n + 1]
        cut = round(((word.end + following.start) / 2 - whole.clip.start) / GROUP_SECONDS)
        enough = word.end - begun >= config.clause_seconds_min
        more = words[-1].end - following.start >= config.clause_seconds_min
        if enough and more and cuts[-1] < cut < groups and _ends(word, following, config):
            cuts.append(cut)
            texts.append("")
            begun = following.start
    ends = [*cuts[1:], groups]
    return [
        Clause(Text(text.strip()), _cut(whole, text.strip(), first, end, last=end == groups))
        for text, first, end in zip(texts, cuts, ends, strict=True)
    ]


def _ends(word: Word, following: Word, config: ComposeConfig) -> bool:
    said = word.text.strip().rstrip(_CLOSING)
    return said.endswith(_ENDS) or following.start - word.end >= config.clause_pause_seconds


def _cut(whole: Speech, text: str, first: int, end: int, last: bool) -> Speech:
    clip = whole.clip
    until = clip.end if last else clip.start + end * GROUP_SECONDS
    cut = Clip(clip.recording, clip.track, clip.start + first * GROUP_SECONDS, until)
    return Speech(cut_groups(whole.codes, first, end), cut, whole.turn, whole.speaker, text)
