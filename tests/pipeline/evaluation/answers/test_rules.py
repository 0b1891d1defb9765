"""What the rule judge takes for right."""

from dataclasses import replace

import pytest

from pipeline.evaluation.answers.ears import SILENCE, Heard, HeardPart
from pipeline.evaluation.answers.rules import AnswerTurn, judge_by_rules, score_of
from schemas.benchmark import parse_row
from stages.evaluate.emotion import HeardEmotion

VOICE = Heard(
    "hello there",
    "en",
    1.0,
    seconds=2.0,
    speech_seconds=1.5,
    letters_per_second=12.0,
    pitch_hz=150.0,
    pitch_range=6.0,
    loudness=-23.0,
)
PART = HeardPart(letters_per_second=12.0, pitch_hz=150.0, pitch_range=6.0, loudness=-23.0)


def judged(check, *answers, language="en"):
    """The score of a check of the last of some written answers without speech."""
    return checked(check, [AnswerTurn(text, SILENCE) for text in answers], language).score


def checked(check, turns, language="en"):
    row = {"id": "a", "dimension": "d", "language": language, "turns": [{"text": "?"}] * len(turns)}
    [result] = judge_by_rules(parse_row(row | {"checks": [check]}, "x"), turns)
    return result


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        ({"kind": "contains", "any": ["Paris"]}, "It's PARIS!", "Comparison"),
        ({"kind": "contains", "any": ["sun", "moon"]}, "The moon.", "Moonlight."),
        ({"kind": "contains", "all": ["fox", "bridge"]}, "A fox on a bridge.", "A fox."),
        ({"kind": "contains", "none": ["apple"]}, "A pear and a pineapple.", "An apple."),
        ({"kind": "contains", "any": ["doesn't like"]}, "She does not like it.", "She likes it."),
        ({"kind": "in_order", "words": ["one", "two", "three"]}, "1, 2, 3.", "three, two, one"),
        ({"kind": "number", "value": 7}, "There are seven.", "There are seventeen."),
        ({"kind": "number", "value": 7}, "7", "27"),
        ({"kind": "number", "value": 5}, "It makes five.", "It makes twenty-five."),
        ({"kind": "number", "value": 20}, "Twenty of them.", "Twenty-one of them."),
        ({"kind": "number", "value": 2}, "Two.", "Two hundred."),
        ({"kind": "begins_with", "any": ["sure"]}, "Sure, April.", "April, sure."),
        ({"kind": "language", "language": "zh"}, "你好，我很好。", "I am fine."),
        ({"kind": "language", "language": "en"}, "I am fine.", "你好，我很好。"),
        ({"kind": "length", "at_least": 2, "at_most": 3}, "Two words.", "One, two, three, four."),
        ({"kind": "says", "text": "The train leaves at noon."}, "the train leaves at noon", "A train left."),
        ({"kind": "one_of", "any": ["It's seven.", "Seven."]}, "it is 7", "It's seven or eight."),
        ({"kind": "one_of", "any": ["The letters are C, A, T."]}, "C-A-T", "cat"),
        ({"kind": "spells", "word": "bread"}, "Bread is spelled B-R-E-A-D.", "Bread is spelled bread."),
    ],
)
def test_english(check, right, wrong):
    assert judged(check, right) == 1
    assert judged(check, wrong) == 0


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        ({"kind": "contains", "any": ["月亮"]}, "那是月亮。", "那是太阳。"),
        ({"kind": "contains", "any": ["月亮"]}, "這是一個月亮", "這是太陽"),
        ({"kind": "contains", "any": ["thank you"]}, "英语说Thank you。", "英语说hello。"),
        ({"kind": "number", "value": 8}, "一共8个。", "一共十八个。"),
        ({"kind": "number", "value": 2}, "还有两个。", "还有十二个。"),
        ({"kind": "number", "value": 10}, "十块钱。", "二十块钱。"),
        ({"kind": "in_order", "words": ["五", "四", "三"]}, "5、4、3", "三四五"),
        ({"kind": "length", "at_most": 3}, "月亮。", "那是月亮。"),
        ({"kind": "says", "text": "明天早上八点开会"}, "明天早上8点开会。", "昨天晚上吃饭。"),
    ],
)
def test_chinese(check, right, wrong):
    assert judged(check, right, language="zh") == 1
    assert judged(check, wrong, language="zh") == 0


def test_chinese_is_found_in_an_english_answer():
    check = {"kind": "contains", "any": ["早上好"]}
    assert judged(check, "In Chinese it is 早上好.") == 1
    assert judged(check, "In Chinese it is 晚安.") == 0


def test_answers_are_compared_with_earlier_ones():
    again, other = {"kind": "says", "earlier": 1}, {"kind": "differs", "earlier": 1}
    assert judged(again, "Fresh bread is here.", "Fresh bread is here!") == 1
    assert judged(again, "Fresh bread is here.", "The moon is out tonight.") == 0
    assert judged(other, "Fresh bread is here.", "The moon is out tonight.") == 1
    assert judged(other, "Fresh bread is here.", "Fresh bread is here!") == 0


@pytest.mark.parametrize(
    ("label", "change"),
    [
        ("slow", {"letters_per_second": 10.0}),
        ("fast", {"letters_per_second": 14.0}),
        ("low", {"pitch_hz": 140.0}),
        ("high", {"pitch_hz": 160.0}),
        ("flat", {"pitch_range": 4.0}),
        ("lively", {"pitch_range": 9.0}),
        ("soft", {"loudness": -29.0}),
        ("loud", {"loudness": -19.0}),
    ],
)
def test_a_change_of_the_voice_counts_only_if_it_is_measured(label, change):
    check = {"kind": "voice", "label": label}
    before, after = AnswerTurn("Hello there.", VOICE), AnswerTurn("Hello there.", replace(VOICE, **change))
    assert checked(check, [before, after]).score == 1
    assert checked(check, [after, before]).score == 0
    assert checked(check, [before, before]).score == 0


@pytest.mark.parametrize(
    ("label", "change"),
    [
        ("slow", {"letters_per_second": 10.0}),
        ("fast", {"letters_per_second": 14.0}),
        ("low", {"pitch_hz": 140.0}),
        ("lively", {"pitch_range": 9.0}),
        ("soft", {"loudness": -29.0}),
    ],
)
def test_a_change_within_an_answer_counts_in_its_direction(label, change):
    check = {"kind": "voice_turns", "changes": [label]}
    second = replace(PART, **change)
    for parts, score in (((PART, second), 1), ((second, PART), 0), ((PART, PART), 0), ((), 0)):
        answer = AnswerTurn("Hello there.", replace(VOICE, parts=parts))
        assert checked(check, [answer]).score == score


def test_each_part_of_an_answer_is_compared_with_the_one_before():
    check = {"kind": "voice_turns", "changes": ["slow", "fast", "loud"]}
    slow, loud = replace(PART, letters_per_second=9.0), replace(PART, loudness=-19.0)

    def result(*parts):
        return checked(check, [AnswerTurn("Hello there.", replace(VOICE, parts=parts))])

    obeyed = result(PART, slow, PART, loud)
    assert obeyed.score == 1
    assert obeyed.why.split("; ") == [
        "slow: the rate changed by -25%",
        "fast: the rate changed by +33%",
        "loud: the loudness changed by +4.0 LU",
    ]
    assert result(PART, slow, PART, PART).score == 0
    assert result(PART, slow, loud, PART).score == 0
    unmeasured = result(PART, HeardPart(None, None, None, None), PART, loud)
    assert (unmeasured.score, unmeasured.why.partition(";")[0]) == (
        0,
        "slow: the rate can't be measured in both parts",
    )
    assert result(PART, slow, PART).score == 0


def test_to_say_that_it_is_slower_is_not_to_be_slower():
    claimed = AnswerTurn("I am speaking slowly now.", replace(VOICE, text="i am speaking slowly now"))
    assert checked({"kind": "voice", "label": "slow"}, [AnswerTurn("Hello.", VOICE), claimed]).score == 0


def test_without_speech_no_change_of_the_voice_is_obeyed():
    result = checked(
        {"kind": "voice", "label": "slow"}, [AnswerTurn("Hi.", VOICE), AnswerTurn("Hi.", SILENCE)]
    )
    assert (result.score, result.why) == (0, "slow: the rate can't be measured in both answers")


def test_a_beginning_of_marks_alone_is_skipped():
    assert judged({"kind": "begins_with", "any": ["?"]}, "Anything.") == 0
    assert judged({"kind": "begins_with", "any": ["?", "sure"]}, "Sure.") == 1


def test_what_is_heard_counts_and_what_is_written_is_told_beside_it():
    spoken = AnswerTurn("It's Paris.", replace(VOICE, text="it is rome"))
    result = checked({"kind": "contains", "any": ["Paris"]}, [spoken])
    assert (result.score, result.written) == (0, 1)


def test_an_answer_in_another_language_than_it_is_heard_in_is_wrong():
    mumbled = AnswerTurn("I am fine.", replace(VOICE, text="i am fine", language="cy"))
    assert checked({"kind": "language", "language": "en"}, [mumbled]).score == 0


@pytest.mark.parametrize("check", [{"kind": "contains", "none": ["apple"]}, {"kind": "length", "at_most": 9}])
def test_an_answer_of_nothing_passes_nothing(check):
    assert judged(check, "") == 0


def test_a_reference_counts_by_the_share_of_its_words_where_no_check_stands():
    row = {
        "id": "a",
        "dimension": "d",
        "turns": [{"text": "?", "reference": "Leonardo da Vinci"}, {"text": "?", "reference": "no"}],
        "checks": [{"kind": "number", "value": 3}],
    }
    answers = [AnswerTurn("Leonardo, I think.", SILENCE), AnswerTurn("3", SILENCE)]
    results = judge_by_rules(parse_row(row, "x"), answers)
    assert [(result.kind, round(result.score, 2)) for result in results] == [
        ("number", 1),
        ("reference", 0.33),
    ]
    assert score_of(results) == pytest.approx(2 / 3)
    assert score_of([]) is None


SAD = (HeardEmotion("sad", 0.7), HeardEmotion("happy", 0.3))


@pytest.mark.parametrize(
    ("label", "emotions", "scores"),
    [
        ("sad", SAD, [1]),
        ("happy", SAD, [0]),
        ("angry", SAD, []),  # the recogniser doesn't know it
        ("sad", (), []),  # no recogniser is named
    ],
)
def test_an_emotion_counts_where_it_can_be_told(label, emotions, scores):
    row = {"id": "a", "dimension": "d", "turns": [{"text": "?"}]}
    row["checks"] = [{"kind": "emotion", "label": label}]
    results = judge_by_rules(parse_row(row, "x"), [AnswerTurn("", replace(VOICE, emotions=emotions))])
    assert [result.score for result in results] == scores


def test_silence_has_no_emotion():
    assert judged({"kind": "emotion", "label": "sad"}, "") == 0
