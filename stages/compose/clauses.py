"""Split a monologue into clauses, each with its text and its own code groups, using word timestamps."""

from dataclasses import dataclass

from schemas.errors import DataError
from schemas.layout import GROUP_SECONDS, cut_groups, group_count
from schemas.recording import Word
from schemas.sample import Clip, Speech, Text
from stages.compose.config import ComposeConfig
from stages.compose.source import SourceSpan

_CLAUSE_PUNCTUATION = tuple(".,;:!?…。，、；：！？")
_CLOSING_PUNCTUATION = "\"'”’»)]）」』"


@dataclass(frozen=True)
class Clause:
    text: Text
    speech: Speech


def clauses(span: SourceSpan, config: ComposeConfig) -> list[Clause]:
    """Split a turn into clauses; every group of its codes belongs to exactly one clause.

    A clause ends at punctuation or a pause. The cut is placed in the middle of the silence between the two
    words, rounded to the nearest group boundary.

    Raises:
        DataError: `no_words` if the turn has no word timestamps, and whatever `SourceSpan.speech` raises.
    """
    speech = span.speech
    turn = span.turn
    words = turn.transcript.words if turn and turn.transcript else ()
    if not words:
        raise DataError("no_words", "it is not known when each word is said")
    groups = group_count(speech.codes)
    first_groups = [0]
    """Index of the first group of each clause."""
    texts = [""]
    clause_start = words[0].start
    for n, word in enumerate(words):
        texts[-1] += word.text
        if n + 1 == len(words):
            break
        following = words[n + 1]
        cut = round(((word.end + following.start) / 2 - speech.clip.start) / GROUP_SECONDS)
        long_enough = word.end - clause_start >= config.clause_seconds_min
        rest_long_enough = words[-1].end - following.start >= config.clause_seconds_min
        valid_cut = first_groups[-1] < cut < groups
        if long_enough and rest_long_enough and valid_cut and _ends_clause(word, following, config):
            first_groups.append(cut)
            texts.append("")
            clause_start = following.start
    ends = [*first_groups[1:], groups]
    return [
        Clause(Text(text.strip()), _cut(speech, text.strip(), first, end, last=end == groups))
        for text, first, end in zip(texts, first_groups, ends, strict=True)
    ]


def _ends_clause(word: Word, following: Word, config: ComposeConfig) -> bool:
    text = word.text.strip().rstrip(_CLOSING_PUNCTUATION)
    return text.endswith(_CLAUSE_PUNCTUATION) or following.start - word.end >= config.clause_pause_seconds


def _cut(speech: Speech, text: str, first: int, end: int, last: bool) -> Speech:
    """Groups [first, end) of the speech; the last clause keeps the exact end time of the turn."""
    clip = speech.clip
    end_time = clip.end if last else clip.start + end * GROUP_SECONDS
    cut = Clip(clip.recording, clip.track, clip.start + first * GROUP_SECONDS, end_time)
    return Speech(cut_groups(speech.codes, first, end), cut, speech.turn, speech.speaker, text)
