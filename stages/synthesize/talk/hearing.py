"""Whether a heard answer is right: its words, as a recogniser writes them, against the right wordings."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from stages.synthesize.talk.words import SPELLING, number

LESS = {
    *("a", "an", "the", "is", "are", "am", "was", "be", "its", "it", "it's", "that", "that's", "thats"),
    *("this", "of", "in", "on", "at", "by", "and", "then", "so", "oh", "okay", "ok", "well", "um", "uh"),
    *("i'm", "im", "i", "my", "your", "you're", "youre", "they're", "theyre", "they", "course"),
}
"""Words that add nothing to a short answer, and that a recogniser often mistakes."""

ALIKE = {
    **{"for": "four", "fore": "four", "to": "two", "too": "two", "won": "one", "ate": "eight", "tin": "ten"},
    **{"colour": "color", "favourite": "favorite", "grey": "gray", "read": "red", "blew": "blue"},
    **{"son": "sun", "sea": "see", "bare": "bear", "knight": "night", "write": "right", "hi": "high"},
    **{"week": "weak", "our": "hour", "know": "no", "flour": "flower", "meet": "meat", "wholly": "holy"},
    **{"buy": "bye", "hair": "hare", "wear": "where", "hear": "here", "sour": "sower"},
    **{"sarah": "sara", "ana": "anna", "robyn": "robin", "suite": "sweet", "loose": "lose"},
}
"""A word that a recogniser may write -> the one that sounds the same and stands for both."""

LETTERS = {
    **{"ay": "a", "eh": "a", "bee": "b", "be": "b", "see": "c", "sea": "c", "dee": "d", "ee": "e"},
    **{"eff": "f", "ef": "f", "gee": "g", "jee": "g", "aitch": "h", "age": "h", "eye": "i", "jay": "j"},
    **{"kay": "k", "okay": "ok", "el": "l", "ell": "l", "em": "m", "en": "n", "oh": "o", "owe": "o"},
    **{"pee": "p", "pea": "p", "queue": "q", "cue": "q", "are": "r", "ar": "r", "ess": "s", "es": "s"},
    **{"tea": "t", "tee": "t", "you": "u", "vee": "v", "ex": "x", "why": "y", "wye": "y"},
    **{"zee": "z", "zed": "z"},
}
"""The sound of a letter, written as a word -> the letter."""


def right(row: dict[str, Any], heard: str) -> bool:
    """Whether `heard`, the recognised text of an answer, answers the last question of a row.

    A row is one of `TalkDialogue.row`.
    """
    return says_one_of(row["right"], heard)


def says_one_of(wordings: Sequence[str], heard: str) -> bool:
    """Whether one of some wordings is heard. Case, punctuation, digits and words that sound the same don't
    matter.

    Of a spelling the letters must be heard one by one, or in groups: the word alone doesn't spell it.
    """
    if wordings[0].startswith(SPELLING):
        letters, pieces = _letters(heard)
        return pieces > 1 and letters == _letters(wordings[0])[0]
    return _said(heard) in {_said(answer) for answer in wordings}


def spells(word: str, heard: str) -> bool:
    """Whether the letters of a word are heard one by one or in groups, anywhere in a text."""
    pieces = _pieces(heard)
    return any(
        "".join(pieces[first:last]) == word.casefold()
        for first in range(len(pieces))
        for last in range(first + 2, len(pieces) + 1)
    )


def _said(text: str) -> str:
    """The words that matter, without spaces, since `goodbye` is also written as two."""
    return "".join(ALIKE.get(word, word) for word in heard_words(text) if word not in LESS)


def heard_words(text: str) -> list[str]:
    """Lower-case words; numbers as words, and `+`, `-`, `=` between numbers as `plus`, `minus`, `is`."""
    plain = text.casefold().replace("’", "'").replace("n't", " not").replace("cannot", "can not")
    plain = re.sub(r"\+", " plus ", plain).replace("=", " is ")
    plain = re.sub(r"(?<=\d)\s*[-−–]\s+(?=\d)|(?<=\d)\s+[-−–](?=\d)|−", " minus ", plain)
    return [word for each in re.findall(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*", plain) for word in _words(each)]


def _words(token: str) -> Iterator[str]:
    if not token.isdecimal():
        yield token
    elif int(token) <= 100:
        yield from re.split("[- ]", number(int(token)))
    else:  # several numbers that were said one by one: 1918 is nineteen, eighteen
        for each in _counted(token) or token:
            yield from _words(each)


def _counted(digits: str) -> list[str] | None:
    """Digits as numbers that count up or down; None if they don't."""
    for size in (1, 2):
        for step in (1, -1):
            first = int(digits[:size])
            row = [str(first)]
            while len("".join(row)) < len(digits) and first + step * len(row) >= 0:
                row.append(str(first + step * len(row)))
            if "".join(row) == digits:
                return row
    return None


def _letters(text: str) -> tuple[str, int]:
    """The letters that are heard, and in how many pieces: `C-A-T` has three, `see AT` two."""
    pieces = _pieces(text)
    return "".join(pieces), len(pieces)


def _pieces(text: str) -> list[str]:
    plain = re.sub(r"double[ -](?:you|u)", "w", text.casefold()).replace("'", "")
    plain = re.sub(r"^.*\bletters?\b(?:\W+are\b)?", "", plain)
    return [LETTERS.get(piece, piece) for piece in re.findall(r"[^\W\d_]+", plain)]
