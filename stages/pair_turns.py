"""Pairs of question and answer: consecutive turns of different speakers."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import Field

from schemas.hashing import hash_integer
from schemas.turn import AnnotatedTurn
from stages.stage import Config

VERSION = 2

BACKCHANNELS: dict[str, tuple[str, ...]] = {
    "en": (
        *("yeah", "yep", "yup", "ya", "mm", "mmm", "hm", "hmm", "mhm", "mm-hmm", "mm-hm", "uh-huh", "mkay"),
        *("um", "uh", "oh", "ah", "aha", "huh", "ok", "okay", "right", "alright", "all right", "sure", "wow"),
        *("really", "i see", "got it", "gotcha", "cool", "nice", "great", "good", "exactly", "true", "oh my"),
    ),
    "zh": (
        *("嗯", "嗯哼", "恩", "哦", "喔", "噢", "啊", "呃", "唔", "诶", "欸", "哎", "唉", "嘿", "哈"),
        *(
            "对",
            "对对",
            "對",
            "是",
            "是的",
            "是啊",
            "是吗",
            "是嗎",
            "好",
            "好的",
            "好吧",
            "行",
            "没错",
            "沒錯",
        ),
        *("真的", "真的吗", "真的嗎", "这样啊", "這樣啊", "明白", "知道了"),
    ),
    "ja": (
        "はい",
        "うん",
        "ええ",
        "へえ",
        "そう",
        "そうですね",
        "そうですか",
        "なるほど",
        "ああ",
        "あー",
        "うーん",
    ),
    "ko": ("네", "예", "응", "음", "아", "그래", "그렇죠", "맞아요", "그렇군요"),
    "de": (
        "ja",
        "jo",
        "jaja",
        "hm",
        "mhm",
        "aha",
        "ach",
        "achso",
        "ach so",
        "genau",
        "okay",
        "gut",
        "stimmt",
    ),
    "fr": ("oui", "ouais", "ah", "hum", "mm", "d'accord", "ok", "voilà", "bien", "ah bon", "c'est ça"),
    "es": ("sí", "si", "ajá", "mm", "claro", "vale", "ya", "bueno", "exacto", "ok", "ah"),
    "it": ("sì", "si", "eh", "ah", "mh", "certo", "esatto", "va bene", "ok", "bene", "giusto"),
    "pt": ("sim", "é", "ah", "hum", "tá", "certo", "claro", "ok", "pois", "pois é"),
    "ru": (
        "да",
        "ага",
        "угу",
        "мм",
        "хм",
        "ну",
        "ну да",
        "так",
        "ясно",
        "понятно",
        "хорошо",
        "ладно",
        "точно",
    ),
}


class PairTurnsConfig(Config):
    gap_seconds_max: float = Field(3.0, ge=0, description="longest silence between question and answer")
    overlap_seconds_max: float = Field(
        0.2,
        ge=0,
        description="speech at the same time that still counts as none, as boundaries are not exact",
    )
    question_seconds_min: float = Field(1.0, ge=0, description="shortest question")
    question_seconds_max: float = Field(30.0, gt=0, description="longest question")
    answer_seconds_min: float = Field(1.0, ge=0, description="shortest answer")
    answer_seconds_max: float = Field(60.0, gt=0, description="longest answer")
    history_turns_max: int = Field(
        4,
        ge=0,
        description="most earlier turns of the two before a question; how many of those that there are is "
        "drawn for each pair, so that all numbers come up",
    )
    backchannels: dict[str, tuple[str, ...]] = Field(
        BACKCHANNELS,
        description="words by language that say no more than `I am listening`; all lists count for every "
        "turn, since the language of half a second is a guess",
    )
    backchannel_seconds_max: float = Field(2.0, ge=0, description="longest backchannel")
    backchannel_words_max: int = Field(4, ge=1, description="most backchannel words in one turn")


@dataclass(frozen=True)
class TurnPair:
    """A question and the answer of the other speaker."""

    question: AnnotatedTurn
    answer: AnnotatedTurn
    history: tuple[AnnotatedTurn, ...] = ()
    """What the two said to each other before, in order, from a turn of the asker to one of the answerer."""

    @property
    def gap(self) -> float:
        """Seconds of silence between the two; negative where they overlap a little."""
        return self.answer.turn.start - self.question.turn.end


@dataclass(frozen=True)
class Conversation:
    """Every turn of a recording is the answer of a pair, or has its reason not to be: they add up."""

    pairs: tuple[TurnPair, ...]
    reasons: Mapping[str, int]


def pair_turns(
    turns: Sequence[AnnotatedTurn], kept: Collection[int], config: PairTurnsConfig
) -> Conversation:
    """Pair the turns of one recording; `kept` are the indices of those that selection kept.

    A turn can answer one pair and ask the next. Backchannels ask nothing, answer nothing and stand
    between nobody; a turn that was set aside breaks the pair that it stands between or speaks into.
    """
    kept = frozenset(kept)
    is_backchannel = _backchannels(config)
    ordered = sorted(turns, key=lambda turn: (turn.turn.start, turn.turn.end, turn.index))
    speech = [turn for turn in ordered if not is_backchannel(turn)]
    at_once = _at_once(speech, config.overlap_seconds_max)
    pairs = []
    reasons = Counter(["backchannel"] * (len(ordered) - len(speech)))
    for position, answer in enumerate(speech):
        question = speech[position - 1] if position else None
        if answer.index not in kept:
            reasons["set_aside"] += 1
        elif question is None:
            reasons["nothing_before"] += 1
        elif question.index not in kept:
            reasons["after_set_aside"] += 1
        else:
            pair = TurnPair(question, answer)
            reason = _no_pair(pair, at_once, config)
            if reason is not None:
                reasons[reason] += 1
                continue
            before = (speech[n] for n in range(position - 2, -1, -1))
            pairs.append(replace(pair, history=_history(before, pair, kept, at_once, config)))
    return Conversation(tuple(pairs), dict(reasons))


def _no_pair(pair: TurnPair, at_once: Mapping[int, Collection[int]], config: PairTurnsConfig) -> str | None:
    question, answer = pair.question.turn, pair.answer.turn
    if question.speaker == answer.speaker:
        return "same_speaker"
    if pair.answer.index in at_once[pair.question.index]:
        return "barge_in" if answer.end > question.end else "overlap"
    if at_once[pair.question.index] or at_once[pair.answer.index]:
        return "overlap"
    if pair.gap > config.gap_seconds_max:
        return "long_gap"
    if not config.question_seconds_min <= question.seconds <= config.question_seconds_max:
        return "question_length"
    if not config.answer_seconds_min <= answer.seconds <= config.answer_seconds_max:
        return "answer_length"
    return None


def _history(
    before: Iterable[AnnotatedTurn],
    pair: TurnPair,
    kept: Collection[int],
    at_once: Mapping[int, Collection[int]],
    config: PairTurnsConfig,
) -> tuple[AnnotatedTurn, ...]:
    """The unbroken talk of the two up to the question, cut to a drawn number of turns.

    `before` are the turns before the question, the latest first; no more of them are read than are needed.
    """
    asker, answerer = pair.question.turn.speaker, pair.answer.turn.speaker
    found: list[AnnotatedTurn] = []
    following = pair.question
    for turn in before:
        unbroken = following.turn.start - turn.turn.end <= config.gap_seconds_max
        fit = turn.index in kept and turn.transcript is not None and not at_once[turn.index]
        of_the_two = turn.turn.speaker in (asker, answerer)
        if not (unbroken and fit and of_the_two) or len(found) == config.history_turns_max:
            break
        found.append(turn)
        following = turn
    found.reverse()
    # Of a question that the asker begins in an earlier turn, that turn is no history.
    if not found or found[-1].turn.speaker == asker:
        return ()
    starts = [n for n, turn in enumerate(found) if turn.turn.speaker == asker] + [len(found)]
    draw = hash_integer(f"history:{pair.answer.key}")
    return tuple(found[starts[draw % len(starts)] :])


def _at_once(turns: Sequence[AnnotatedTurn], tolerance: float) -> Mapping[int, Collection[int]]:
    """Index of a turn -> indices of the turns, on any track, that speak at the same time; by start."""
    found: dict[int, set[int]] = {turn.index: set() for turn in turns}
    for position, turn in enumerate(turns):
        for other in turns[position + 1 :]:
            if other.turn.start >= turn.turn.end - tolerance:
                break
            if min(turn.turn.end, other.turn.end) - other.turn.start > tolerance:
                found[turn.index].add(other.index)
                found[other.index].add(turn.index)
    return found


def _backchannels(config: PairTurnsConfig) -> Callable[[AnnotatedTurn], bool]:
    """A predicate for backchannels: short turns of few words, all of them from the lists."""
    words = {_letters(word) for language in config.backchannels.values() for word in language}
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    only = re.compile(f"(?:{'|'.join(longest_first)}){{1,{config.backchannel_words_max}}}")

    def is_backchannel(turn: AnnotatedTurn) -> bool:
        if turn.transcript is None or turn.turn.seconds > config.backchannel_seconds_max:
            return False
        return bool(words) and only.fullmatch(_letters(turn.transcript.text)) is not None

    return is_backchannel


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.casefold())
