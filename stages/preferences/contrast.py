"""Answers to avoid, made from real ones: what a model must not learn to say to a question it heard well.

deaf        it claims not to have heard
other       it answers another conversation
mismatch    its text and its speech say different things
truncated   it breaks off, in text and speech alike
language    it comes in another language
"""

from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from schemas.errors import DataError
from schemas.hashing import hash_fraction
from schemas.layout import cut_groups, group_count
from schemas.sample import Speech

Kind = Literal["deaf", "other", "mismatch", "truncated", "language"]
KINDS: tuple[Kind, ...] = get_args(Kind)

LOOKED_AT = 1000
"""So many other answers are tried before there is none that fits."""


@dataclass(frozen=True)
class RealAnswer:
    """A real answer."""

    key: str
    """Unique among the answers."""
    conversation: str
    language: str
    text: str
    speech: Speech | None


@dataclass(frozen=True)
class Rejected:
    """What stands against a real answer."""

    text: str
    speech: Speech | None
    provenance: dict[str, Any]


class Contrasts:
    """Draws from the answers of some conversations; the same answer always gets the same."""

    def __init__(self, answers: Sequence[RealAnswer], phrases: dict[str, tuple[str, ...]]) -> None:
        self._ring = sorted(answers, key=lambda answer: hash_fraction(answer.key))
        self._places = [hash_fraction(answer.key) for answer in self._ring]
        self._phrases = phrases

    def wanted(self, answer: RealAnswer, shares: dict[Kind, float]) -> list[Kind]:
        """The kinds that an answer gets, each for its share of all answers."""
        return [kind for kind in KINDS if hash_fraction(f"{answer.key} {kind}") < shares.get(kind, 0.0)]

    def reject(self, answer: RealAnswer, kind: Kind) -> Rejected:
        """The contrast of a kind. Raises DataError `no_contrast`."""
        makers: dict[Kind, Callable[[RealAnswer], Rejected]] = {
            "deaf": self._deaf,
            "other": self._other,
            "mismatch": self._mismatch,
            "truncated": self._truncated,
            "language": self._language,
        }
        return makers[kind](answer)

    def _deaf(self, answer: RealAnswer) -> Rejected:
        phrases = self._phrases.get(answer.language) or self._phrases.get("en") or ()
        if not phrases:
            raise DataError("no_contrast", f"there is no phrase of not hearing in {answer.language} or en")
        phrase = phrases[int(hash_fraction(f"{answer.key} phrase") * len(phrases))]
        return Rejected(phrase, None, _told("deaf"))

    def _other(self, answer: RealAnswer) -> Rejected:
        found = self._another(answer, lambda other: other.language == answer.language)
        return Rejected(found.text, found.speech, _told("other", found))

    def _language(self, answer: RealAnswer) -> Rejected:
        found = self._another(answer, lambda other: other.language != answer.language)
        return Rejected(found.text, found.speech, _told("language", found) | {"language": found.language})

    def _mismatch(self, answer: RealAnswer) -> Rejected:
        """Its own text with the speech of another, or the other way round."""
        found = self._another(answer, lambda o: o.language == answer.language and o.speech is not None)
        if answer.speech is None:
            raise DataError("no_contrast", "the answer has no speech that its text could disagree with")
        if hash_fraction(f"{answer.key} side") < 0.5:
            return Rejected(answer.text, found.speech, _told("mismatch", found) | {"taken": "speech"})
        return Rejected(found.text, answer.speech, _told("mismatch", found) | {"taken": "text"})

    def _truncated(self, answer: RealAnswer) -> Rejected:
        """Cut at the same share of text and speech, between a fifth and three fifths."""
        share = 0.2 + 0.4 * hash_fraction(f"{answer.key} cut")
        words = answer.text.split()
        text = " ".join(words[: max(1, int(share * len(words)))])
        if len(words) < 4:  # or a language without spaces
            text = answer.text[: max(1, int(share * len(answer.text)))].strip()
        if not text or text == answer.text:
            raise DataError("no_contrast", "the answer is too short to be cut")
        speech = None if answer.speech is None else _cut(answer.speech, share)
        return Rejected(text, speech, _told("truncated") | {"share": round(share, 4)})

    def _another(self, answer: RealAnswer, fits: Callable[[RealAnswer], bool]) -> RealAnswer:
        """The next one on the ring: an answer that comes or goes changes few of the others' draws."""
        first = bisect(self._places, hash_fraction(f"{answer.key} other"))
        for step in range(min(LOOKED_AT, len(self._ring))):
            other = self._ring[(first + step) % len(self._ring)]
            if other.conversation != answer.conversation and other.text != answer.text and fits(other):
                return other
        raise DataError("no_contrast", "there is no other answer that could be taken for it")


def _cut(speech: Speech, share: float) -> Speech:
    """The first groups of a speech. Raises DataError where that is none or all."""
    groups = group_count(speech.codes)
    kept = int(share * groups)
    if not kept:
        raise DataError("no_contrast", "the answer is too short to be cut")
    clip = speech.clip
    end = clip.start + (clip.end - clip.start) * kept / groups
    return replace(speech, codes=cut_groups(speech.codes, 0, kept), clip=replace(clip, end=end), text=None)


def _told(kind: Kind, other: RealAnswer | None = None) -> dict[str, Any]:
    return {"source": "contrast", "kind": kind} | ({"from": other.key} if other else {})


def contrasts_of(
    answers: Sequence[RealAnswer], shares: dict[Kind, float], phrases: dict[str, tuple[str, ...]]
) -> Iterator[tuple[RealAnswer, Kind, Rejected | DataError]]:
    """Every wanted contrast of every answer, or why there is none."""
    drawn = Contrasts(answers, phrases)
    for answer in answers:
        for kind in drawn.wanted(answer, shares):
            try:
                yield answer, kind, drawn.reject(answer, kind)
            except DataError as error:
                yield answer, kind, error
