"""Families of songs, from turns that sing.

sing      instruction, the words of a line -> the line, sung
nextline  instruction, a sung line -> the next line, sung
lyrics    instruction, a sung line -> its words
songname  instruction, a sung line -> the title of the song and who sings it

Words are those of the lyrics, in an LRC file or the sidecar. Title and artist are those of the sidecar.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

from schemas.errors import DataError
from schemas.sample import Message, Speech, Text
from schemas.turn import AnnotatedTurn
from stages.compose.config import ComposeConfig
from stages.compose.instructions import SONG_NAMES, Phrasings
from stages.compose.source import SampleSource, SourceSpan, written_as
from stages.word_errors import errors

Messages = tuple[Message, ...]

LINE_ERRORS_MAX = 0.5
"""Error rate of what is heard against whole lines of a sidecar's lyrics, from which a turn isn't just these
lines, but part of one or more than them."""


def lines_in_a_row(
    turns: Sequence[AnnotatedTurn], kept: Collection[int], gap_max: float
) -> list[tuple[AnnotatedTurn, AnnotatedTurn]]:
    """Each kept line of a song with the next one of the same voice, at most `gap_max` seconds later."""
    kept = frozenset(kept)
    in_order = sorted(turns, key=lambda turn: (turn.turn.start, turn.turn.end, turn.index))
    return [
        (line, following)
        for line, following in pairwise(in_order)
        if line.sings
        and {line.index, following.index} <= kept
        and (line.turn.speaker, line.turn.track) == (following.turn.speaker, following.turn.track)
        and 0 <= following.turn.start - line.turn.end <= gap_max
    ]


def sing(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (line,) = source.answer
    return _asked(key, source, config.sing_instructions, _lyrics(line), line.speech)


def nextline(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (line,) = source.answer
    if source.question is None:
        raise ValueError(f"sample source {source.key} has no line before it")
    return _asked(key, source, config.nextline_instructions, source.question.speech, line.speech)


def lyrics(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (line,) = source.answer
    return _asked(key, source, config.lyrics_instructions, line.speech, _lyrics(line))


def songname(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    """Raises DataError `no_title` if the sidecar has no `title`; its `artist` is named where it is there."""
    (line,) = source.answer
    title, artist = (
        value if isinstance(value := source.metadata.get(field), str) else "" for field in ("title", "artist")
    )
    if not title.strip():
        raise DataError("no_title", "the sidecar doesn't say which song it is: give it a `title`")
    by_artist, alone = SONG_NAMES.get(written_as(source.language)) or SONG_NAMES["en"]
    name = (by_artist if artist.strip() else alone).format(title=title.strip(), artist=artist.strip())
    return _asked(key, source, config.songname_instructions, line.speech, Text(name))


def _asked(
    key: str, source: SampleSource, phrasings: Phrasings, given: Text | Speech, answer: Text | Speech
) -> Messages:
    phrasing = source.choose(phrasings, key)
    instruction = (Text(phrasing),) if phrasing else ()
    return (Message("human", (*instruction, given)), Message("assistant", (answer,)))


def _lyrics(line: SourceSpan) -> Text:
    """The words of a line. Raises DataError `no_lyrics` where they aren't known, `no_text` without words."""
    transcript = line.turn.transcript if line.turn else None
    if transcript is None:
        return line.text
    if transcript.source != "model":  # each line of an LRC file is a turn
        return line.text
    known = transcript.known_text
    if not known:
        raise DataError("no_lyrics", "the lyrics have nothing that is like what is heard, or there are none")
    found = errors(transcript.language, known, transcript.recognised_text or transcript.text)
    if found is None or found.wrong > LINE_ERRORS_MAX * found.of:
        raise DataError("part_of_line", "it isn't whole lines of the lyrics that are sung")
    return Text(known)
