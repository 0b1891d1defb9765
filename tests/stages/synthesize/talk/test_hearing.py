"""Whether a heard answer is right, whatever way a recogniser writes it."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.synthesize.talk import judging_dialogues
from stages.synthesize.talk.hearing import heard_words, right, spells
from stages.synthesize.talk.words import number

ROWS = [dialogue.row() for dialogue in judging_dialogues(600)]
rows = st.sampled_from(ROWS)
DIGITS = {number(n): str(n) for n in range(101)}


def in_digits(text: str) -> str:
    """Numbers as digits, as a recogniser writes them."""
    words = sorted(DIGITS, key=len, reverse=True)
    return re.sub(rf"(?i)\b({'|'.join(words)})\b", lambda found: DIGITS[found[1].lower()], text)


def as_heard(text: str, how: str) -> str:
    return {
        "written": text,
        "lower case": text.lower(),
        "upper case": text.upper(),
        "no marks": text.translate(str.maketrans("", "", ",.?!:")).replace("-", " "),
        "digits": in_digits(text),
        "filled": f"Um, {text}",
        "dots": text.replace(",", "."),
        "hyphens": text.replace(", ", "-"),
        "typographic": text.replace("'", "’"),
    }[how]


WAYS = (
    *("written", "lower case", "upper case", "no marks", "digits", "filled", "dots", "hyphens"),
    "typographic",
)


@settings(max_examples=300, deadline=None)
@given(rows, st.sampled_from(WAYS), st.data())
def test_every_right_answer_is_right_however_it_is_written(row, how, data):
    heard = as_heard(data.draw(st.sampled_from(row["right"])), how)
    assert right(row, heard), (row["right"], heard)


@settings(max_examples=300, deadline=None)
@given(rows, rows)
def test_the_answer_to_another_question_is_wrong_unless_it_says_the_same(row, other):
    """Compared by the letters of both, without the words that every answer may have."""

    def told(text):
        plain = re.sub(r"\b(it's|it is|they are|that is|the|is|are|of course|it|i)\b", "", text.lower())
        return re.sub(r"[^a-z]", "", plain)

    same = {told(text) for text in row["right"]} & {told(other["messages"][-1]["content"])}
    if not same:
        assert not right(row, other["messages"][-1]["content"])


@settings(max_examples=300, deadline=None)
@given(rows, st.text(string.ascii_lowercase, min_size=3, max_size=8), st.data())
def test_another_word_in_place_of_one_that_matters_is_wrong(row, word, data):
    answer = row["messages"][-1]["content"]
    wrong = answer.rsplit(" ", 1)[0] + f" {word}qx."
    assert not right(row, wrong)
    assert not right(row, "")


def question(family, *answers):
    return {"family": family, "right": list(answers)}


SUM = question("sum", "It's seven.", "That is seven.", "The answer is seven.", "Three plus four is seven.")


@pytest.mark.parametrize(
    "heard",
    [
        "7",
        "It's 7.",
        "its seven",
        "3 plus 4 is 7.",
        "3 + 4 = 7",
        "Three plus for is seven",
        "The answer is 7!",
    ],
)
def test_a_sum_is_right_in_words_and_digits(heard):
    assert right(SUM, heard)


@pytest.mark.parametrize(
    "heard",
    ["", "It's eight.", "Three plus four is eight.", "It's not seven.", "Seven or eight.", "17"],
)
def test_a_wrong_sum_is_wrong(heard):
    assert not right(SUM, heard)


CAT = question("spelling", "The letters are C, A, T.")


@pytest.mark.parametrize(
    "heard", ["The letters are C-A-T", "The letters are see a tea.", "C A T", "the letters, c.a.t.", "C, AT"]
)
def test_letters_are_heard_as_letters_and_as_words_that_sound_the_same(heard):
    assert right(CAT, heard)


@pytest.mark.parametrize(
    "heard", ["The letters are cat.", "cat", "The letters are C, A, P.", "C, A", "", "CAT T"]
)
def test_the_word_alone_and_other_letters_are_no_spelling(heard):
    assert not right(CAT, heard)


def test_a_spelling_that_begins_with_r_is_told_from_the_word_before_it():
    assert right(question("again", "The letters are R, E, D."), "The letters are R-E-D")
    assert right(question("again", "The letters are R, E, D."), "The letters are are E D")
    assert not right(question("again", "The letters are E, D."), "The letters are R-E-D")


def test_w_is_heard_as_two_words():
    assert right(question("spelling", "The letters are O, W, L."), "O, double-u, L")
    assert right(question("spelling", "The letters are O, W, L."), "The letters are oh double you el")


@pytest.mark.parametrize(
    ("answers", "heard"),
    [
        (["It is gray."], "It is grey"),
        (["It's red."], "It's read."),
        (["It is blue."], "it is blew"),
        (["Your favorite color is green."], "your favourite colour is green"),
        (["Goodbye, see you soon."], "good bye see you soon"),
        (["Sorry, I don't know that."], "Sorry, I do not know that."),
        (["It's forty-one."], "It's 41."),
        (["It's one hundred."], "100"),
        (["Two, three, four, five."], "2345"),
        (["Nineteen, eighteen, seventeen."], "1918-17"),
        (["Eight, nine, ten, eleven."], "891011"),
        (["Two, three, four, five."], "to three for five"),
        (["You said: What is five minus two?"], "You said, what is 5 - 2?"),
    ],
)
def test_words_that_sound_the_same_count_as_the_same(answers, heard):
    assert right(question("any", *answers), heard)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 3 + 4 = 7!", ["it's", "three", "plus", "four", "is", "seven"]),
        ("Twenty-one, 21", ["twenty", "one", "twenty", "one"]),
        ("5-2", ["five", "two"]),
        ("12 - 5", ["twelve", "minus", "five"]),
        ("4567", ["four", "five", "six", "seven"]),
        ("4590", ["four", "five", "nine", "zero"]),
        ("I can't.", ["i", "ca", "not"]),
    ],
)
def test_words_of_a_heard_text(text, words):
    assert heard_words(text) == words


@pytest.mark.parametrize("heard", ["C-A-T", "It is spelled c, a, t.", "see AT", "The letters are C A T"])
def test_letters_one_by_one_spell_a_word(heard):
    assert spells("cat", heard)


@pytest.mark.parametrize("heard", ["Cat.", "The cat.", "C-A-R", ""])
def test_a_word_that_is_only_said_is_not_spelled(heard):
    assert not spells("cat", heard)
