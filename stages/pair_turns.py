"""Pair consecutive turns of different speakers as question and answer."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import Field

from schemas.hashing import hash_integer
from schemas.recording import UNKNOWN_SPEAKER
from schemas.turn import AnnotatedTurn
from stages.stage import Config

VERSION = 3
FRAGMENT_SECONDS = 0.5
"""Turns that were set aside and are shorter don't separate others: diarize cuts such parts off others."""

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
    gap_seconds_max: float = Field(
        3.0, ge=0, description="maximum silence between question and answer, in seconds"
    )
    overlap_seconds_max: float = Field(
        0.2,
        ge=0,
        description="maximum overlap of two turns that is ignored, in seconds, because turn boundaries are "
        "not exact",
    )
    question_seconds_min: float = Field(1.0, ge=0, description="minimum length of a question, in seconds")
    question_seconds_max: float = Field(30.0, gt=0, description="maximum length of a question, in seconds")
    answer_seconds_min: float = Field(1.0, ge=0, description="minimum length of an answer, in seconds")
    answer_seconds_max: float = Field(60.0, gt=0, description="maximum length of an answer, in seconds")
    speaker_margin_min: float | None = Field(
        0.2,
        description="minimum by which the voices of question and answer are more like their speaker's than "
        "like any other's, as a difference of cosines, so that a speaker doesn't answer themselves",
    )
    history_turns_max: int = Field(
        4,
        ge=0,
        description="maximum number of earlier turns of the same two speakers before a question; the actual "
        "number is drawn at random for each pair, so that all history lengths occur",
    )
    backchannels: dict[str, tuple[str, ...]] = Field(
        BACKCHANNELS,
        description="backchannels such as `mm-hmm`: language -> words; the lists of all languages apply to "
        "every turn, since language identification is unreliable for very short turns",
    )
    backchannel_seconds_max: float = Field(
        2.0, ge=0, description="maximum length of a backchannel, in seconds"
    )
    backchannel_words_max: int = Field(4, ge=1, description="maximum number of words of a backchannel")


@dataclass(frozen=True)
class TurnPair:
    """A question and its answer by another speaker."""

    question: AnnotatedTurn
    answer: AnnotatedTurn
    history: tuple[AnnotatedTurn, ...] = ()
    """Earlier turns of the two speakers, in order, from a turn of the asker to one of the answerer."""

    @property
    def gap(self) -> float:
        """Silence between question and answer in seconds; negative if they overlap slightly."""
        return self.answer.turn.start - self.question.turn.end


@dataclass(frozen=True)
class Conversation:
    """The pairs of a recording, and how many of its other turns were not the answer of a pair, by reason.

    Every turn is counted exactly once: as the answer of a pair, or under one reason.
    """

    pairs: tuple[TurnPair, ...]
    reasons: Mapping[str, int]


def pair_turns(
    turns: Sequence[AnnotatedTurn], kept: Collection[int], config: PairTurnsConfig
) -> Conversation:
    """Pair the turns of one recording as questions and answers.

    A turn can be the answer of one pair and the question of the next. Backchannels are skipped: they are
    neither questions nor answers, and do not separate the turns around them. A turn that was set aside breaks
    the pair that it separates or overlaps, unless it is a mere fragment.

    Args:
        turns: all turns of the recording, in any order.
        kept: indices of the turns that selection kept.
        config: limits of pairs.
    """
    kept = frozenset(kept)
    is_backchannel = _backchannel_predicate(config)
    ordered = sorted(turns, key=lambda turn: (turn.turn.start, turn.turn.end, turn.index))
    fragments = {
        turn.index for turn in ordered if turn.index not in kept and turn.turn.seconds < FRAGMENT_SECONDS
    }
    speech = [turn for turn in ordered if turn.index not in fragments and not is_backchannel(turn)]
    overlaps = _overlaps(speech, config.overlap_seconds_max)
    pairs = []
    reasons = Counter({"fragment": len(fragments)}) if fragments else Counter()
    reasons.update(["backchannel"] * (len(ordered) - len(fragments) - len(speech)))
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
            reason = _rejection_reason(pair, overlaps, config)
            if reason is not None:
                reasons[reason] += 1
                continue
            earlier = (speech[n] for n in range(position - 2, -1, -1))
            pairs.append(replace(pair, history=_history(earlier, pair, kept, overlaps, config)))
    return Conversation(tuple(pairs), dict(reasons))


def _rejection_reason(
    pair: TurnPair, overlaps: Mapping[int, Collection[int]], config: PairTurnsConfig
) -> str | None:
    question, answer = pair.question.turn, pair.answer.turn
    if question.speaker == answer.speaker:
        return "same_speaker"
    if UNKNOWN_SPEAKER in (question.speaker, answer.speaker):
        return "unknown_speaker"
    sure = all(turn.is_surely_its_speakers(config.speaker_margin_min) for turn in (question, answer))
    if question.track == answer.track and not sure:
        return "speaker_unsure"
    if pair.answer.index in overlaps[pair.question.index]:
        return "barge_in" if answer.end > question.end else "overlap"
    if overlaps[pair.question.index] or overlaps[pair.answer.index]:
        return "overlap"
    if pair.gap > config.gap_seconds_max:
        return "long_gap"
    if not config.question_seconds_min <= question.seconds <= config.question_seconds_max:
        return "question_length"
    if not config.answer_seconds_min <= answer.seconds <= config.answer_seconds_max:
        return "answer_length"
    return None


def _history(
    earlier: Iterable[AnnotatedTurn],
    pair: TurnPair,
    kept: Collection[int],
    overlaps: Mapping[int, Collection[int]],
    config: PairTurnsConfig,
) -> tuple[AnnotatedTurn, ...]:
    """The uninterrupted conversation of the two speakers before the question, cut to a random length.

    `earlier` iterates over the turns before the question, latest first, and is consumed only as far as
    needed.
    """
    asker, answerer = pair.question.turn.speaker, pair.answer.turn.speaker
    history: list[AnnotatedTurn] = []
    following = pair.question
    for turn in earlier:
        continuous = following.turn.start - turn.turn.end <= config.gap_seconds_max
        usable = turn.index in kept and turn.transcript is not None and not overlaps[turn.index]
        same_speakers = turn.turn.speaker in (asker, answerer)
        if not (continuous and usable and same_speakers) or len(history) == config.history_turns_max:
            break
        history.append(turn)
        following = turn
    history.reverse()
    # If the asker also spoke the turn before, the question began there, so there is no history.
    if not history or history[-1].turn.speaker == asker:
        return ()
    starts = [n for n, turn in enumerate(history) if turn.turn.speaker == asker] + [len(history)]
    draw = hash_integer(f"history:{pair.answer.key}")
    return tuple(history[starts[draw % len(starts)] :])


def _overlaps(turns: Sequence[AnnotatedTurn], tolerance: float) -> Mapping[int, Collection[int]]:
    """Turn index -> indices of the turns, on any track, that overlap it by more than `tolerance` seconds.

    `turns` must be sorted by start time.
    """
    overlapping: dict[int, set[int]] = {turn.index: set() for turn in turns}
    for position, turn in enumerate(turns):
        for other in turns[position + 1 :]:
            if other.turn.start >= turn.turn.end - tolerance:
                break
            if min(turn.turn.end, other.turn.end) - other.turn.start > tolerance:
                overlapping[turn.index].add(other.index)
                overlapping[other.index].add(turn.index)
    return overlapping


def _backchannel_predicate(config: PairTurnsConfig) -> Callable[[AnnotatedTurn], bool]:
    """A predicate for backchannels: short turns of a few words that are all in the lists."""
    words = {_letters(word) for language in config.backchannels.values() for word in language}
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    pattern = re.compile(f"(?:{'|'.join(longest_first)}){{1,{config.backchannel_words_max}}}")

    def is_backchannel(turn: AnnotatedTurn) -> bool:
        if turn.transcript is None or turn.turn.seconds > config.backchannel_seconds_max:
            return False
        return bool(words) and pattern.fullmatch(_letters(turn.transcript.text)) is not None

    return is_backchannel


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.casefold())
