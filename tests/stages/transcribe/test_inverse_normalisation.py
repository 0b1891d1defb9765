"""Spoken numbers are written in digits; all other words, and the times of all, stay."""

import pytest

from schemas.recording import Word
from stages.transcribe.inverse_normalisation import InverseNormaliser

pytest.importorskip("wetext")

ENGLISH = [
    ("twenty three dollars", "$23"),
    ("That costs twenty-three dollars and fifty cents.", "That costs $23.50."),
    ("Two hundred and fifty thousand people came.", "250000 people came."),
    ("I was born in nineteen eighty four, and you?", "I was born in 1984, and you?"),
    ("Rates rose by three point five percent; now wait.", "Rates rose by 3.5%; now wait."),
    ("Call five five five one two three four now", "Call 5551234 now"),
    ("We met on May fifth twenty twenty.", "We met on May 5 2020."),
    ("She is the twenty first.", "She is the 21st."),
    ("a forty-five-year-old man", "a 45-year-old man"),
    ("two million dollars, twenty dollars, twelve", "$2 million, $20, twelve"),
]
CHINESE = [
    ("二零二四年", "2024年"),
    ("今天是二零二四年三月五日，星期二。", "今天是2024年3月5日，星期二。"),
    ("我今年二十三岁。", "我今年23岁。"),
    ("百分之三十五点五", "35.5%"),
    ("一百二十万人", "120万人"),
    ("三分之一的人", "1/3的人"),
    ("电话是一三八零零一三八零零零", "电话是13800138000"),
    ("一共花了三百五十块钱", "一共花了350块钱"),
    ("第二十三届", "第23届"),
    ("零零年三月", "00年3月"),
    ("两千五百人，二十美元", "2500人，$20"),
]
AS_SPOKEN = [
    ("en", "No one waited a second; first, see a doctor, may I?"),
    ("en", "a thirty second video of two dogs"),
    ("en", "plan b twelve"),
    ("en", "It says 2 thousand point five there"),
    ("zh", "下午三点半，我有一个苹果，万一不来，十分高兴"),
    ("zh", "上午十点，千万别忘了"),
    ("zh", "一二线城市，大概三四十个人"),
    ("fr", "vingt trois twenty three 二十三"),
    ("ja", "千葉県"),
    ("en", 'Hello, “World”! [really] {ok} \\ " back & forth: $5, 50%, 3.5 … café naïve'),
    ("en", ""),
]


@pytest.fixture(scope="module")
def normalise():
    return InverseNormaliser()


def words_of(language, text):
    """A word for each space, or for each two characters in Chinese, a second each."""
    parts = [text[k : k + 2] for k in range(0, len(text), 2)] if language == "zh" else text.split(" ")
    space = "" if language == "zh" else " "
    return [Word(k, k + 0.9, space + part, 0.5 + k / 100) for k, part in enumerate(parts)]


def text_of(words):
    return "".join(word.text for word in words).strip()


@pytest.mark.parametrize(
    ("language", "spoken", "written"),
    [*(("en", *pair) for pair in ENGLISH), *(("zh", *pair) for pair in CHINESE)],
)
def test_numbers_are_written_in_digits(normalise, language, spoken, written):
    assert text_of(normalise(words_of(language, spoken), language)) == written


@pytest.mark.parametrize(("language", "text"), AS_SPOKEN)
def test_other_words_are_left_as_they_are(normalise, language, text):
    words = words_of(language, text)
    assert normalise(words, language) == tuple(words)


def test_the_words_of_a_number_become_one_from_the_first_to_the_last(normalise):
    words = words_of("en", "Pay twenty three dollars, or thirty.")
    assert normalise(words, "en") == (
        words[0],
        Word(1, 3.9, " $23,", 0.51),
        words[4],
        Word(5, 5.9, " 30.", 0.55),
    )


def test_a_word_that_is_a_number_in_part_keeps_the_rest(normalise):
    texts = ("有二", "十三", "人，五", "十")
    words = [Word(k, k + 1, text, 0.9 - k / 10) for k, text in enumerate(texts)]
    assert normalise(words, "zh") == (Word(0, 4, "有23人，50", words[3].probability),)
