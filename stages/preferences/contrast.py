"""Contrasts: rejected answers made from real ones, as bad replies to a question that was heard well.

deaf        claims not to have heard the question
other       belongs to another conversation
mismatch    has text and speech that say different things
truncated   breaks off, in text and speech at the same point
language    is in another language
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

MAX_TRIED = 1000
"""Maximum number of other answers that are tried to find one that fits."""


@dataclass(frozen=True)
class RealAnswer:
    """An answer of a real conversation."""

    key: str
    """Unique among all answers."""
    conversation: str
    language: str
    text: str
    speech: Speech | None


@dataclass(frozen=True)
class RejectedAnswer:
    """The rejected side of a pair whose chosen side is a real answer."""

    text: str
    speech: Speech | None
    provenance: dict[str, Any]


class Contrasts:
    """Makes contrasts from a set of answers. All draws are hashes of the key of the answer."""

    def __init__(self, answers: Sequence[RealAnswer], phrases: dict[str, tuple[str, ...]]) -> None:
        self._ring = sorted(answers, key=lambda answer: hash_fraction(answer.key))
        self._positions = [hash_fraction(answer.key) for answer in self._ring]
        self._phrases = phrases

    def kinds_for(self, answer: RealAnswer, shares: dict[Kind, float]) -> list[Kind]:
        """The kinds of contrast drawn for an answer; `shares` are their probabilities."""
        return [kind for kind in KINDS if hash_fraction(f"{answer.key} {kind}") < shares.get(kind, 0.0)]

    def reject(self, answer: RealAnswer, kind: Kind) -> RejectedAnswer:
        """The contrast of one kind to an answer. Raises DataError `no_contrast`."""
        makers: dict[Kind, Callable[[RealAnswer], RejectedAnswer]] = {
            "deaf": self._deaf,
            "other": self._other,
            "mismatch": self._mismatch,
            "truncated": self._truncated,
            "language": self._language,
        }
        return makers[kind](answer)

    def _deaf(self, answer: RealAnswer) -> RejectedAnswer:
        phrases = self._phrases.get(answer.language) or self._phrases.get("en") or ()
        if not phrases:
            raise DataError("no_contrast", f"there is no phrase of not hearing in {answer.language} or en")
        phrase = phrases[int(hash_fraction(f"{answer.key} phrase") * len(phrases))]
        return RejectedAnswer(phrase, None, _provenance("deaf"))

    def _other(self, answer: RealAnswer) -> RejectedAnswer:
        other = self._another(answer, lambda other: other.language == answer.language)
        return RejectedAnswer(other.text, other.speech, _provenance("other", other))

    def _language(self, answer: RealAnswer) -> RejectedAnswer:
        other = self._another(answer, lambda other: other.language != answer.language)
        return RejectedAnswer(
            other.text, other.speech, _provenance("language", other) | {"language": other.language}
        )

    def _mismatch(self, answer: RealAnswer) -> RejectedAnswer:
        """The text of the answer with the speech of another one, or vice versa."""
        other = self._another(answer, lambda a: a.language == answer.language and a.speech is not None)
        if answer.speech is None:
            raise DataError("no_contrast", "the answer has no speech that its text could disagree with")
        if hash_fraction(f"{answer.key} side") < 0.5:
            return RejectedAnswer(
                answer.text, other.speech, _provenance("mismatch", other) | {"taken": "speech"}
            )
        return RejectedAnswer(other.text, answer.speech, _provenance("mismatch", other) | {"taken": "text"})

    def _truncated(self, answer: RealAnswer) -> RejectedAnswer:
        """Text and speech are cut at the same fraction, between 0.2 and 0.6."""
        share = 0.2 + 0.4 * hash_fraction(f"{answer.key} cut")
        words = answer.text.split()
        text = " ".join(words[: max(1, int(share * len(words)))])
        if len(words) < 4:  # short, or in a language without spaces
            text = answer.text[: max(1, int(share * len(answer.text)))].strip()
        if not text or text == answer.text:
            raise DataError("no_contrast", "the answer is too short to be cut")
        speech = None if answer.speech is None else _cut(answer.speech, share)
        return RejectedAnswer(text, speech, _provenance("truncated") | {"share": round(share, 4)})

    def _another(self, answer: RealAnswer, fits: Callable[[RealAnswer], bool]) -> RealAnswer:
        """The next answer on a ring of hashes that fits: adding or removing an answer changes few draws.

        Raises DataError `no_contrast`.
        """
        first = bisect(self._positions, hash_fraction(f"{answer.key} other"))
        for step in range(min(MAX_TRIED, len(self._ring))):
            other = self._ring[(first + step) % len(self._ring)]
            if other.conversation != answer.conversation and other.text != answer.text and fits(other):
                return other
        raise DataError("no_contrast", "there is no other answer that could be taken for it")


def _cut(speech: Speech, share: float) -> Speech:
    """The first groups of a speech. Raises DataError `no_contrast` if that is not even one."""
    groups = group_count(speech.codes)
    kept = int(share * groups)
    if not kept:
        raise DataError("no_contrast", "the answer is too short to be cut")
    clip = speech.clip
    end = clip.start + (clip.end - clip.start) * kept / groups
    return replace(speech, codes=cut_groups(speech.codes, 0, kept), clip=replace(clip, end=end), text=None)


def _provenance(kind: Kind, other: RealAnswer | None = None) -> dict[str, Any]:
    return {"source": "contrast", "kind": kind} | ({"from": other.key} if other else {})


def contrasts_of(
    answers: Sequence[RealAnswer], shares: dict[Kind, float], phrases: dict[str, tuple[str, ...]]
) -> Iterator[tuple[RealAnswer, Kind, RejectedAnswer | DataError]]:
    """All contrasts drawn for the answers, or the error that explains why one could not be made."""
    contrasts = Contrasts(answers, phrases)
    for answer in answers:
        for kind in contrasts.kinds_for(answer, shares):
            try:
                yield answer, kind, contrasts.reject(answer, kind)
            except DataError as error:
                yield answer, kind, error
