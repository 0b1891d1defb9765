"""Emotions have one name, however a classifier calls them."""

import pytest

from schemas.errors import SetupError
from stages.evaluate.emotion import EmotionRecogniser
from tests.audio_classifiers import logits, noise, saved


def test_probabilities_are_those_of_the_model_under_plain_names(tmp_path):
    saved(tmp_path, ("ang", "生气/Sadness", "Happy", "calm"))
    heard = EmotionRecogniser(tmp_path)(noise())
    of_name = {each.name: each.probability for each in heard}
    assert list(of_name) == sorted(of_name, key=lambda name: -of_name[name])
    expected = logits(tmp_path, noise()).softmax(0).tolist()
    assert [of_name[name] for name in ("angry", "sad", "happy", "calm")] == pytest.approx(expected)


def test_a_classifier_of_something_else_is_refused(tmp_path):
    with pytest.raises(SetupError, match="labels are dog, cat, and none of them is angry, happy"):
        EmotionRecogniser(saved(tmp_path, ("dog", "cat")))
