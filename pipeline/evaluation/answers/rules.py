"""The rule judge: whether answers pass the checks of their row, and how much of a reference is in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import log2
from typing import Any

from pipeline.evaluation.answers.ears import Heard, HeardPart
from pipeline.evaluation.answers.wording import (
    found,
    language_of_text,
    plain,
    position,
    says_number,
    words,
)
from schemas.benchmark import (
    BeginsWith,
    BenchmarkRow,
    Check,
    Contains,
    Differs,
    InLanguage,
    InOrder,
    Length,
    Number,
    OneOf,
    Says,
    SoundsLike,
    Spells,
    VoiceObeys,
    VoiceTurns,
)
from schemas.style import SCALES, measure_of
from stages.evaluate.emotion import HeardEmotion
from stages.synthesize.talk.hearing import says_one_of, spells

ALIKE_MAX = 0.5
"""Likeness in words from which two answers are the same one again."""

LEAST_CHANGE = {"rate": 1.05, "pitch": 0.5, "liveliness": 1.0, "loudness": 1.0}
"""Smallest change of a measure that counts: a factor of the rate, semitones, semitones of range, and LU."""


@dataclass(frozen=True)
class AnswerTurn:
    """An answer as the rules see it."""

    written: str
    heard: Heard

    @property
    def spoken(self) -> bool:
        return self.heard.seconds > 0

    @property
    def told(self) -> str:
        """What reaches the listener: what is heard, or what is written where nothing is spoken."""
        return self.heard.text if self.spoken else self.written

    @property
    def empty(self) -> bool:
        return not self.told.strip()


@dataclass(frozen=True)
class CheckResult:
    kind: str
    """Of the check, or `reference`."""
    turn: int
    """From 1."""
    score: float
    """0 or 1; of a reference, the share of its words."""
    written: float
    """The same of what is written, whatever is heard."""
    why: str
    """What was wanted and what was found, for a reader."""

    def as_json(self) -> dict[str, Any]:
        return vars(self)


def judge_by_rules(row: BenchmarkRow, turns: Sequence[AnswerTurn]) -> list[CheckResult]:
    """The result of each check, and of each reference that no check stands in for.

    An answer without words passes nothing.
    """
    checked = {check.turn or len(row.turns) for check in row.checks}
    counted = (check for check in row.checks if _can_tell(check, row, turns))
    results = [_result(check, row, turns) for check in counted]
    for number, turn in enumerate(row.turns, 1):
        if turn.reference and number not in checked:
            results.append(_reference(turn.reference, number, row.spoken_language, turns[number - 1]))
    return results


def score_of(results: Sequence[CheckResult]) -> float | None:
    """Mean of the results, 0 to 1; None for a row that rules can't judge."""
    return sum(result.score for result in results) / len(results) if results else None


def _result(check: Check, row: BenchmarkRow, turns: Sequence[AnswerTurn]) -> CheckResult:
    number = check.turn or len(row.turns)
    answer = turns[number - 1]
    if isinstance(check, SoundsLike):
        emotions = answer.heard.emotions
        passed = float(bool(emotions) and emotions[0].name == check.label)
        return CheckResult(check.kind, number, passed, passed, f"{check.label}: {_emotions_told(emotions)}")
    if isinstance(check, VoiceObeys | VoiceTurns):
        if isinstance(check, VoiceTurns):
            passed, why = _voice_changes(check, answer.heard.parts)
        else:
            before = turns[(check.earlier or number - 1) - 1].heard
            passed, why = _voice_change(check.label, before, answer.heard)
        return CheckResult(check.kind, number, passed, passed, why)
    told = not answer.empty and _passes(check, answer.told, row, turns, number, lambda turn: turn.told)
    written = bool(answer.written.strip()) and _passes(
        check, answer.written, row, turns, number, lambda turn: turn.written
    )
    if isinstance(check, InLanguage) and answer.spoken and answer.heard.language:
        told = told and answer.heard.language == check.language
    return CheckResult(check.kind, number, float(told), float(written), _wanted(check))


def _can_tell(check: Check, row: BenchmarkRow, turns: Sequence[AnswerTurn]) -> bool:
    """Whether a check can be made: an emotion must be one that the recogniser knows. Silence has none."""
    answer = turns[(check.turn or len(row.turns)) - 1]
    known = {emotion.name for emotion in answer.heard.emotions}
    return not isinstance(check, SoundsLike) or check.label in known or answer.empty


def _emotions_told(emotions: Sequence[HeardEmotion]) -> str:
    told = ", ".join(f"{emotion.name} {emotion.probability:.0%}" for emotion in emotions[:3])
    return f"heard as {told}" if told else "nothing is heard"


def _passes(
    check: Check,
    text: str,
    row: BenchmarkRow,
    turns: Sequence[AnswerTurn],
    number: int,
    side: Callable[[AnswerTurn], str],
) -> bool:
    language = row.spoken_language
    searched = plain(text, language)
    match check:
        case Contains():
            return (
                (not check.any or any(found(each, searched, language) for each in check.any))
                and all(found(each, searched, language) for each in check.all)
                and not any(found(each, searched, language) for each in check.none)
            )
        case InOrder():
            at: int | None = 0
            for each in check.words:
                at = position(each, searched, language, at or 0)
                if at is None:
                    return False
            return True
        case Number():
            return says_number(check.value, searched, language)
        case BeginsWith():
            wanted_first = (plain(each, language) for each in check.any)
            return any(searched.startswith(each) for each in wanted_first if each)
        case InLanguage():
            script = language_of_text(text)
            return script == check.language or (
                script == "latin" and check.language not in ("zh", "ja", "ko")
            )
        case Length():
            count = len(words(text, language))
            return check.at_least <= count and (check.at_most is None or count <= check.at_most)
        case Says():
            wanted = check.text if check.text is not None else side(turns[(check.earlier or 1) - 1])
            return _errors(wanted, text, language) <= check.errors_max
        case OneOf():
            return says_one_of(check.any, text)
        case Differs():
            return _likeness(side(turns[check.earlier - 1]), text, language) < ALIKE_MAX
        case Spells():
            return spells(check.word, text)
    raise AssertionError(check)


def _errors(wanted: str, text: str, language: str) -> float:
    from stages.word_errors import errors

    counted = errors(language, wanted, text)
    return 1.0 if counted is None else counted.wrong / counted.of


def _likeness(a: str, b: str, language: str) -> float:
    return SequenceMatcher(None, words(a, language), words(b, language), autojunk=False).ratio()


def _voice_changes(check: VoiceTurns, parts: Sequence[HeardPart]) -> tuple[float, str]:
    """Whether each part differs from the one before as asked."""
    if len(parts) != check.parts:
        return 0.0, f"{', '.join(check.changes)}: no words are heard"
    found = [_voice_change(*change) for change in zip(check.changes, parts, parts[1:], strict=False)]
    return min(passed for passed, _ in found), "; ".join(why for _, why in found)


def _voice_change(label: str, before: Heard | HeardPart, after: Heard | HeardPart) -> tuple[float, str]:
    """Whether a measure has changed as asked; not without the measure on both sides."""
    measure = measure_of(label)
    change = _change(measure, before, after)
    if change is None:
        both = "parts" if isinstance(before, HeardPart) else "answers"
        return 0.0, f"{label}: the {measure} can't be measured in both {both}"
    wanted = 1 if SCALES[measure].index(label) == 2 else -1
    passed = float(wanted * change >= _least(measure))
    return passed, f"{label}: the {measure} {_told(measure, change)}"


def _least(measure: str) -> float:
    return log2(LEAST_CHANGE["rate"]) if measure == "rate" else LEAST_CHANGE[measure]


def _told(measure: str, change: float) -> str:
    if measure == "rate":
        return f"changed by {2**change - 1:+.0%}"
    return f"changed by {change:+.1f} {'LU' if measure == 'loudness' else 'semitones'}"


def _change(measure: str, before: Heard | HeardPart, after: Heard | HeardPart) -> float | None:
    """Octaves of the rate, semitones of the pitch and of its range, or LU."""
    if measure == "rate":
        a, b = before.letters_per_second, after.letters_per_second
        return log2(b / a) if a and b else None
    if measure == "pitch":
        a, b = before.pitch_hz, after.pitch_hz
        return 12 * log2(b / a) if a and b else None
    a, b = (
        (before.pitch_range, after.pitch_range)
        if measure == "liveliness"
        else (before.loudness, after.loudness)
    )
    return None if a is None or b is None else b - a


def _reference(reference: str, number: int, language: str, answer: AnswerTurn) -> CheckResult:
    told, written = (_recall(reference, text, language) for text in (answer.told, answer.written))
    return CheckResult("reference", number, told, written, f"{told:.0%} of: {reference[:200]}")


def _recall(reference: str, text: str, language: str) -> float:
    """Share of the reference's words that are in a text, each as often as it is there."""
    wanted, left = words(reference, language), words(text, language)
    hits = 0
    for word in wanted:
        if word in left:
            left.remove(word)
            hits += 1
    return hits / len(wanted) if wanted else 0.0


def _wanted(check: Check) -> str:
    fields = check.model_dump(exclude={"kind", "turn"}, exclude_defaults=True)
    return f"{check.kind}: " + "; ".join(f"{name} {_value(value)}" for name, value in fields.items())


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
