"""Who the speakers of recordings are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.identify import IdentifyConfig, identify

AXES = np.eye(8)
ENROLLED = {"Anna": AXES[0], "Ben": AXES[1]}


def towards(axis: int, cosine: float, other: int = 7):
    """A voice with this cosine to an axis."""
    return cosine * AXES[axis] + np.sqrt(1 - cosine**2) * AXES[other]


def named(vectors, enrolled=ENROLLED, **settings):
    keys = [f"s{n}" for n in range(len(vectors))]
    return identify(keys, [10.0] * len(keys), np.array(vectors), enrolled, IdentifyConfig(**settings))


def test_a_speaker_is_the_person_with_the_most_similar_voice():
    found = named([towards(0, 0.9), towards(1, 0.8), AXES[0] * 0.8 + AXES[1] * 0.6])
    assert [found[key].name for key in ("s0", "s1", "s2")] == ["Anna", "Ben", "Anna"]
    assert (found["s0"].similarity, found["s0"].margin) == (0.9, 0.9)
    assert (found["s2"].similarity, found["s2"].margin) == (0.8, 0.2)


def test_a_speaker_who_is_like_nobody_stays_unknown():
    assert named([towards(0, 0.69)], similarity_min=0.7) == {}
    assert named([towards(0, 0.71)], similarity_min=0.7).keys() == {"s0"}


def test_the_only_enrolled_voice_has_no_margin():
    assert named([AXES[0]], {"Anna": AXES[0]})["s0"].margin is None


def test_unknown_speakers_are_one_person_in_all_recordings_on_request():
    voices = [towards(3, 0.95), towards(4, 0.95), towards(3, 0.9, other=6), towards(0, 0.95)]
    assert named(voices).keys() == {"s3"}
    found = named(voices, across_recordings=True)
    assert found["s0"].name == found["s2"].name != found["s1"].name
    assert found["s3"].name == "Anna"
    assert found["s0"].name in ("s0", "s2")


@given(st.permutations(range(6)), st.integers(0, 50))
def test_the_order_of_the_speakers_changes_nothing(order, seed):
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(6, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    seconds = generator.uniform(1, 9, 6)
    keys = [f"s{n}" for n in range(6)]
    config = IdentifyConfig(similarity_min=0.5, across_recordings=True)

    def found(numbers):
        return identify([keys[n] for n in numbers], seconds[numbers].tolist(), vectors[numbers], {}, config)

    assert {k: i.name for k, i in found(list(order)).items()} == {
        k: i.name for k, i in found(list(range(6))).items()
    }


@pytest.mark.parametrize("settings", [{"similarity_min": 2}, {"similarity": 0.5}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ValueError, match="similarity"):
        IdentifyConfig(**settings)
