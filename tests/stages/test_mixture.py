"""What is over its share, its speaker's or its language's hours is left out, by hash."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.mixture import MixtureConfig, MixtureTurn, exceeding_caps, fit_mixture

FAMILIES = ("continuation", "asr", "tts")


def samples(*counts, size=100):
    families = [name for name, count in zip(FAMILIES, counts, strict=False) for _ in range(count)]
    keys = [f"{n:04d}-{family}" for n, family in enumerate(families)]
    return keys, families, np.full(len(keys), size)


def got(keys, families, tokens, weights):
    stay = fit_mixture(keys, families, tokens, weights)
    return {name: int(tokens[(np.array(families) == name) & stay].sum()) for name in set(families)}


def test_tokens_are_to_each_other_as_the_weights_and_the_scarcest_stays_whole():
    found = got(*samples(1000, 300, 900), {"continuation": 2, "asr": 1, "tts": 1})
    assert found == {"continuation": 60_000, "asr": 30_000, "tts": 30_000}


def test_without_weights_everything_stays():
    assert fit_mixture(*samples(10, 3), {}).all()


def test_a_family_without_samples_takes_nothing_from_the_others():
    assert got(*samples(10, 10), {"continuation": 1, "asr": 1, "tts": 5}) == {
        "continuation": 1000,
        "asr": 1000,
    }


@given(
    counts=st.tuples(*[st.integers(1, 200)] * 3),
    weights=st.tuples(*[st.floats(0.1, 10)] * 3),
    seed=st.integers(0, 100),
)
def test_no_family_is_over_its_share_and_none_is_a_sample_short_of_it(counts, weights, seed):
    keys, families, _ = samples(*counts)
    tokens = np.random.default_rng(seed).integers(1, 500, len(keys))
    asked = dict(zip(FAMILIES, weights, strict=True))
    found = got(keys, families, tokens, asked)
    there = got(keys, families, tokens, {})
    unit = min(there[name] / weight for name, weight in asked.items())
    for name, weight in asked.items():
        assert found[name] <= unit * weight * (1 + 1e-6)
        assert found[name] > unit * weight - 500
    assert any(found[name] == there[name] for name in FAMILIES)


def test_neither_order_nor_what_comes_later_moves_the_draw():
    keys, families, tokens = samples(500, 100)
    weights = {"continuation": 1, "asr": 1}
    stay = {key for key, s in zip(keys, fit_mixture(keys, families, tokens, weights), strict=True) if s}
    backwards = fit_mixture(keys[::-1], families[::-1], tokens[::-1], weights)
    assert stay == {key for key, s in zip(keys[::-1], backwards, strict=True) if s}
    more = ([*keys, "new-asr"], [*families, "asr"], np.append(tokens, 100))
    grown = {key for key, s in zip(more[0], fit_mixture(*more, weights), strict=True) if s}
    assert stay < grown
    assert len(grown - stay) == 2


def turns(count, seconds=10.0, recordings=1, speaker="A", language="en"):
    return [
        MixtureTurn(f"{language}-{r}-{n}", f"{language}-{r}.wav", n * seconds, seconds, speaker, language)
        for r in range(recordings)
        for n in range(count)
    ]


class TestCaps:
    def test_a_speaker_or_language_has_so_many_hours_and_no_more(self):
        found = exceeding_caps(turns(360, recordings=2), MixtureConfig(speaker_hours_max=0.5))
        assert len(found) == 720 - 180
        assert set(found.values()) == {"speaker"}
        mixed = [*turns(100, language="en"), *turns(100, recordings=3, language="zh")]
        found = exceeding_caps(mixed, MixtureConfig(language_hours_max=0.5))
        assert len(found) == 300 - 180
        assert set(found.values()) == {"language"}
        assert all(key.startswith("zh") for key in found)

    def test_without_caps_nobody_is_over(self):
        assert exceeding_caps(turns(1000), MixtureConfig()) == {}

    def test_turns_stay_by_stretches_of_five_minutes(self):
        found = exceeding_caps(turns(360), MixtureConfig(speaker_hours_max=0.5))
        stretches = {}
        for n in range(360):
            stretches.setdefault(n * 10 // 300, set()).add(f"en-0-{n}" in found)
        assert all(len(fates) == 1 for fates in stretches.values())

    @given(st.randoms())
    def test_the_order_makes_no_difference(self, random):
        config = MixtureConfig(speaker_hours_max=0.2)
        shuffled = turns(100, recordings=2)
        random.shuffle(shuffled)
        assert exceeding_caps(shuffled, config) == exceeding_caps(turns(100, recordings=2), config)


def test_a_weight_is_positive():
    with pytest.raises(ValueError, match="greater than 0"):
        MixtureConfig(weights={"asr": 0})
