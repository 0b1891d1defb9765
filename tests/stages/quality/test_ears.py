"""What several classifiers hear, and how a turn keeps it."""

import pytest

from schemas.recording import HeardLabel
from stages.quality import QualityConfig
from stages.quality.ears import EarConfig, TurnEars, agreed
from tests.audio_classifiers import logits, noise, saved


@pytest.mark.parametrize(
    ("heard", "label", "probability"),
    [
        ([{"angry": 0.7, "sad": 0.3}], "angry", 0.7),
        ([{"angry": 0.7, "sad": 0.3}, {"angry": 0.6, "calm": 0.4}], "angry", 0.6),
        ([{"angry": 0.7, "sad": 0.3}, {"angry": 0.2, "sad": 0.8}], None, 0.7),
    ],
)
def test_classifiers_must_agree(heard, label, probability):
    assert agreed("emotion", heard) == HeardLabel("emotion", label, probability)


def test_each_ear_hears_with_its_own_classifiers(tmp_path):
    emotion = saved(tmp_path / "emotion", ("angry", "sad"))
    sound = saved(tmp_path / "sound", ("speech", "music"), seed=1)
    config = QualityConfig(
        ears={"sound": ({"model": f"file:{sound}"},), "emotion": ({"model": f"file:{emotion}"},) * 2}
    )
    models = {f"file:{folder}": folder for folder in (sound, emotion)}
    assert config.models[3:] == (f"file:{sound}", f"file:{emotion}")
    heard = {label.ear: label for label in TurnEars(config.ears, models, "cpu")(noise())}
    assert list(heard) == ["emotion", "sound"]
    for folder, labels in ((emotion, ("angry", "sad")), (sound, ("speech", "music"))):
        expected = logits(folder, noise()).softmax(0)
        assert heard[folder.name].label == labels[int(expected.argmax())]
        assert heard[folder.name].probability == pytest.approx(float(expected.max()))


def test_a_turn_that_one_of_them_cannot_hear_has_its_error(tmp_path):
    ears = {name: (EarConfig(model=name),) for name in ("emotion", "sound")}
    models = {name: saved(tmp_path / name, ("a", "b")) for name in ears}
    heard = TurnEars(ears, models, "cpu").each([noise(), noise()[:3]])
    assert [label.ear for label in heard[0]] == ["emotion", "sound"]
    assert isinstance(heard[1], Exception)
