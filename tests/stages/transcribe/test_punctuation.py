"""Punctuation is restored where there is none, by the labels of a model."""

import pytest

from schemas.errors import SetupError
from stages.transcribe.punctuation import Punctuation
from tests.stages.transcribe.tiny_models import punctuation

MARKS = ("0", ".", ",")


@pytest.fixture
def restore(tmp_path):
    return Punctuation(punctuation(tmp_path, "said", "well", MARKS)).restore


def test_marks_follow_their_words_and_sentences_start_with_capitals(restore):
    words = ["well", " he", " said", " so", " well", " good"]
    assert restore(words, "en") == ["Well,", " he", " said.", " So", " well,", " good"]


def test_text_with_capitals_keeps_its_own(restore):
    assert restore(["well", " Ann", " said", " so"], "en") == ["well,", " Ann", " said.", " so"]


def test_text_with_marks_is_left_alone(restore):
    words = ["well", " he", " said", " so."]
    assert restore(words, "en") == words
    assert restore([], "en") == []


def test_chinese_gets_wide_marks(tmp_path):
    words = ["你", "好", "吗"]
    model = Punctuation(punctuation(tmp_path, "吗", "好", ("O", "QUESTION", "COMMA")))
    assert model.restore(words, "zh") == ["你", "好，", "吗？"]


def test_long_text_is_classified_in_parts(restore):
    words = ["so", *[" said"] * 250]
    assert restore(words, "en") == ["So", *[" said."] * 1, *[" Said."] * 249]


def test_a_model_with_other_labels_is_a_setup_error(tmp_path):
    with pytest.raises(SetupError, match="LOC, PER"):
        Punctuation(punctuation(tmp_path, "a", "b", ("O", "LOC", "PER")))
    with pytest.raises(SetupError, match="can't load"):
        Punctuation(tmp_path / "nothing")
