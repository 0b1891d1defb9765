"""Dialogues of the closed world: how many, how different, what they say, and what is held out."""

import time
from collections import Counter, defaultdict

import pytest

from schemas.chat import parse
from stages.synthesize.styles import STYLES
from stages.synthesize.talk import judging_dialogues, training_dialogues
from stages.synthesize.talk.dialogues import FAMILIES, FOLLOWING, is_held_out
from stages.synthesize.talk.hearing import heard_words
from stages.synthesize.talk.sayings import STYLES as REQUESTED
from stages.synthesize.talk.words import number

DIALOGUES = 20_000
QUESTIONS = 1_000


@pytest.fixture(scope="module")
def training():
    return list(training_dialogues(DIALOGUES))


@pytest.fixture(scope="module")
def judging():
    return list(judging_dialogues(QUESTIONS))


@pytest.fixture(scope="module")
def exchanges(training):
    return [exchange for dialogue in training for exchange in dialogue.exchanges]


def test_twenty_thousand_dialogues_take_seconds():
    start = time.process_time()
    assert sum(1 for _ in training_dialogues(DIALOGUES)) == DIALOGUES
    assert time.process_time() - start < 20


def test_dialogues_are_different_conversations_that_synthesis_reads(training):
    chats = [parse(dialogue.row(), "row") for dialogue in training]
    assert len({chat.key for chat in chats}) == DIALOGUES
    assert len({tuple(m.text for m in chat.messages[:-1]) for chat in chats}) == DIALOGUES
    assert {chat.answer_styles for chat in chats} == {(), *((style,) for style in REQUESTED)}
    assert set(STYLES) <= set(REQUESTED)
    assert all(chat.fields["licence"] == "CC0-1.0" for chat in chats)


def test_dialogues_have_one_to_four_exchanges(training):
    lengths = Counter(len(dialogue.exchanges) for dialogue in training)
    assert set(lengths) == {1, 2, 3, 4}
    assert min(lengths.values()) > 0.08 * DIALOGUES


def test_every_family_is_asked_often_and_none_most_of_the_time(training):
    last = Counter(dialogue.exchanges[-1].family for dialogue in training)
    assert set(last) == set(FAMILIES)
    assert 0.009 * DIALOGUES < min(last.values()) <= max(last.values()) < 0.1 * DIALOGUES


UNITS = {
    **{"sum": 105, "difference": 200, "neighbour": 170, "calendar": 240, "month": 60, "how many": 85},
    **{"opposite": 440, "color": 230, "spelling": 290, "letters": 280, "comparison": 1400, "count": 140},
    **{"repeat": 2400, "say in a style": 2000, "small talk": 70, "cannot know": 34, "told": 85},
    **{"again": 400, "again in a style": 1700, "carry on": 160, "last question": 300, "recall": 85},
}
"""Family -> least number of different questions."""


def test_every_family_has_many_different_questions(exchanges):
    units = defaultdict(set)
    for exchange in exchanges:
        units[exchange.family].add(exchange.unit)
    assert set(units) == set(UNITS) == set(FAMILIES)
    assert {family: len(units[family]) for family in FAMILIES if len(units[family]) < UNITS[family]} == {}


def test_questions_have_several_wordings(exchanges):
    wordings = defaultdict(set)
    for exchange in exchanges:
        wordings[exchange.family, exchange.unit].add(exchange.question)
    for family in ("sum", "difference", "spelling", "recall"):
        counts = [len(found) for (name, _), found in wordings.items() if name == family]
        assert sum(counts) / len(counts) > 4, family


def test_answers_have_two_to_ten_words(exchanges):
    assert {len(exchange.answer.split()) for exchange in exchanges} <= set(range(2, 11))
    assert all(exchange.answer in exchange.right for exchange in exchanges)


def test_numbers_are_written_as_words(exchanges):
    assert not any(c.isdigit() for exchange in exchanges for c in exchange.question + exchange.answer)


def test_sums_and_differences_are_right(exchanges):
    """By their units, which name the numbers."""
    checked = 0
    for exchange in exchanges:
        kind, *numbers = exchange.unit.split()
        if exchange.family in ("sum", "difference", "carry on"):
            a, b = map(int, numbers)
            result = number(a + b if kind == "sum" else a - b)
            assert heard_words(exchange.answer)[-1:] == heard_words(result)[-1:], exchange
            assert exchange.number == (a + b if kind == "sum" else a - b)
            assert 0 <= exchange.number <= 20
            checked += 1
    assert checked > 3_000


def test_what_is_said_again_was_just_said(training):
    for dialogue in training:
        for before, exchange in zip(dialogue.exchanges, dialogue.exchanges[1:], strict=False):
            if exchange.family in ("again", "again in a style"):
                assert exchange.answer == before.answer
                assert before.style is None
            assert (exchange.style is not None) == (exchange.family in ("again in a style", "say in a style"))


def test_what_is_recalled_was_told_before(training):
    for dialogue in training:
        for index, exchange in enumerate(dialogue.exchanges):
            if exchange.family == "recall":
                told = [each.remembered[1] for each in dialogue.exchanges[:index] if each.remembered]
                assert any(value in exchange.answer for value in told)


def test_what_was_told_last_counts(training, judging):
    for dialogue in (*training, *judging):
        told = {}
        for exchange in dialogue.exchanges:
            if exchange.remembered:
                told[exchange.remembered[0]] = exchange.remembered[1]
            if exchange.family == "recall":
                assert any(exchange.unit == f"my {what} {value}" for what, value in told.items())


def test_nothing_held_out_is_in_a_training_dialogue(exchanges):
    assert [exchange for exchange in exchanges if is_held_out(exchange.unit)] == []


def test_what_is_judged_is_held_out_and_nothing_before_it_but_what_it_recalls(judging):
    assert len(judging) == QUESTIONS
    for dialogue in judging:
        *before, last = dialogue.exchanges
        assert is_held_out(last.unit)
        assert {each.unit for each in before if is_held_out(each.unit)} <= {last.unit}


def test_no_judged_question_is_asked_in_training_whatever_its_words(training, judging):
    """Of questions about what was said before, together with that."""

    def asked(exchanges):
        *before, last = exchanges
        about = before[-1].core if last.family == "last question" else before[-1].answer if before else ""
        said = (about, last.core) if last.family in FOLLOWING else (last.core,)
        return tuple(" ".join(heard_words(text)) for text in said)

    recalled = [dialogue for dialogue in judging if dialogue.exchanges[-1].family == "recall"]
    prefixes = (d.exchanges[: end + 1] for d in training for end in range(len(d.exchanges)))
    trained = {asked(exchanges) for exchanges in prefixes}
    judged = {asked(dialogue.exchanges) for dialogue in judging if dialogue not in recalled}
    assert len(judged) > 850
    assert judged & trained == set()
    told = {tuple(heard_words(d.exchanges[0].core)) for d in training if d.exchanges[0].remembered}
    assert told
    for dialogue in recalled:
        (said,) = (each for each in dialogue.exchanges if each.remembered and is_held_out(each.unit))
        assert tuple(heard_words(said.core)) not in told


def test_about_a_tenth_of_each_family_is_held_out(exchanges):
    held_out = {each.unit for dialogue in judging_dialogues(3_000) for each in dialogue.exchanges[-1:]}
    trained = {exchange.unit for exchange in exchanges}
    shares = {}
    for kind in ("sum ", "difference ", "spell ", "after ", "before ", "count ", "my ", "wording "):
        held = sum(unit.startswith(kind) for unit in held_out)
        shares[kind] = held / (held + sum(unit.startswith(kind) for unit in trained))
    assert {kind: share for kind, share in shares.items() if not 0.05 < share < 0.16} == {}
    assert 0.08 < sum(shares.values()) / len(shares) < 0.12


def test_families_are_judged_alike_until_they_have_no_more_questions(judging):
    last = Counter(dialogue.exchanges[-1].family for dialogue in judging)
    assert set(last) == set(FAMILIES)
    assert max(last.values()) < 0.08 * QUESTIONS
    assert min(last.values()) >= 4
    assert sum(count > 0.04 * QUESTIONS for count in last.values()) >= 12


def test_the_same_seed_makes_the_same_dialogues_and_every_seed_the_same_split():
    first, again, other = (
        [dialogue.row() for dialogue in training_dialogues(200, seed)] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert not any(is_held_out(row["unit"]) for row in other)


def test_more_dialogues_begin_with_those_of_fewer():
    few, more = (list(training_dialogues(count)) for count in (100, 300))
    assert more[:100] == few
