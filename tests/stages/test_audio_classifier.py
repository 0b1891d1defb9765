"""Labels of audio are those of transformers, under the names of the recipe."""

import pytest

from schemas.errors import SetupError
from stages.audio_classifier import AudioClassifier
from tests.audio_classifiers import logits, noise, saved

LABELS = ("ang", "hap", "exc")


def test_probabilities_are_those_of_the_model(tmp_path):
    expected = logits(saved(tmp_path, LABELS), noise()).softmax(0).tolist()
    assert AudioClassifier(tmp_path)(noise()) == pytest.approx(dict(zip(LABELS, expected, strict=True)))


def test_labels_that_get_one_name_are_added(tmp_path):
    angry, *happy = logits(saved(tmp_path, LABELS), noise()).softmax(0).tolist()
    named = {"ang": "angry", "hap": "happy", "exc": "happy"}
    assert AudioClassifier(tmp_path, named)(noise()) == pytest.approx({"angry": angry, "happy": sum(happy)})


def test_the_labels_of_a_tagger_do_not_exclude_each_other(tmp_path):
    saved(tmp_path, LABELS, problem_type="multi_label_classification")
    angry, *happy = logits(tmp_path, noise()).sigmoid().tolist()
    named = {"ang": "angry", "hap": "happy", "exc": "happy"}
    assert AudioClassifier(tmp_path, named)(noise()) == pytest.approx({"angry": angry, "happy": max(happy)})


def test_turns_are_heard_together_as_they_are_alone(tmp_path):
    classifier = AudioClassifier(saved(tmp_path, LABELS))
    turns = [noise(seed)[: 16_000 - 4_000 * (seed % 3)] for seed in range(40)]
    alone = [classifier(samples) for samples in turns]
    passes = []
    classifier._model.register_forward_pre_hook(lambda *_: passes.append(1))
    together = classifier.each(turns)
    assert len(passes) == 3  # one for each length
    for one, other in zip(alone, together, strict=True):
        assert other == pytest.approx(one, abs=1e-6)


def test_a_turn_that_is_too_short_fails_alone(tmp_path):
    heard = AudioClassifier(saved(tmp_path, LABELS)).each([noise()[:3], noise()])
    assert isinstance(heard[0], Exception)
    assert sum(heard[1].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"ang": "angry"}, "has no name for exc, hap: the model's labels are ang, hap, exc"),
        (dict.fromkeys([*LABELS, "sad"], "x"), "names what the model doesn't have, sad"),
    ],
)
def test_a_map_with_other_labels_than_the_model_is_refused(tmp_path, labels, message):
    with pytest.raises(SetupError, match=message):
        AudioClassifier(saved(tmp_path, LABELS), labels)


def test_a_folder_without_a_classifier_is_refused(tmp_path):
    with pytest.raises(SetupError, match=r"can't be loaded as an audio classifier"):
        AudioClassifier(tmp_path)
