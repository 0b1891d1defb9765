"""Words of a CTM for the turns of a recording, whatever it calls the channels."""

import pytest

from schemas.companions import read
from schemas.recording import Turn, Word
from stages.transcribe.existing import words_of_turns

CALL = [Turn(0.0, 1.0, "a", 0, False), Turn(1.0, 2.0, "b", 1, False), Turn(2.0, 3.0, "a", 0, False)]
SAID = ((0.2, 0, "Hello"), (0.6, 0, "you"), (1.2, 1, "there"), (2.2, 0, "yes"), (1.6, 0, "hm"))
"""Start, channel, word: the last is said while the other speaks."""


def ctm(names):
    return "".join(f"talk {names[channel]} {start} 0.3 {word} 0.9\n" for start, channel, word in SAID)


def words(text, turns=CALL):
    annotation = read("ctm", text, "talk.ctm", "talk.wav")
    found = words_of_turns(annotation, turns, range(len(turns)))
    return {index: [word.text for word in said] for index, said in found.items()}


@pytest.mark.parametrize("names", [("1", "2"), ("0", "1"), ("A", "B"), ("2", "1")])
def test_words_are_assigned_by_time_and_channel_whatever_its_number(names):
    assert words(ctm(names)) == {0: ["Hello", " you"], 1: ["there"], 2: ["yes"]}


def test_one_channel_for_both_is_told_apart_by_the_turns():
    assert words(ctm(("1", "1"))) == {0: ["Hello", " you"], 1: ["there", " hm"], 2: ["yes"]}


def test_words_that_may_be_of_either_channel_are_of_neither():
    at_once = [*CALL, Turn(1.5, 2.0, "a", 0, False)]
    assert words(ctm(("1", "1")), at_once) == {0: ["Hello", " you"], 2: ["yes"]}
    assert words(ctm(("1", "2")), at_once) == {0: ["Hello", " you"], 1: ["there"], 2: ["yes"], 3: ["hm"]}


def test_all_words_belong_to_the_only_track():
    assert words(ctm(("1", "2")), [Turn(0.0, 3.0, "a", 0, False)]) == {
        0: ["Hello", " you", " there", " hm", " yes"]
    }


def test_confidence_is_kept_and_may_be_missing():
    annotation = read("ctm", "# words\ntalk 1 0.2 0.3 Hello 0.5\ntalk 1 0.6 0.3 you <NA>\n", "c", "talk.wav")
    assert words_of_turns(annotation, CALL, [0]) == {
        0: (Word(0.2, 0.5, "Hello", 0.5), Word(0.6, pytest.approx(0.9), " you", 1.0))
    }


def test_words_of_other_recordings_are_left_out():
    assert words("talk 1 0.2 0.3 Hello\nelsewhere 1 0.5 0.2 WRONG\n")[0] == ["Hello"]


def test_a_turn_that_lacks_a_word_is_left_to_the_model():
    assert words("talk 1 0.2 0.3 Hello\ntalk 1 0.5 x you\ntalk 1 2.2 0.3 yes\ntalk 1 2.6 0.2 no\n") == {1: []}
