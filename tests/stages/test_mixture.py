"""Caps on the hours of speakers and languages, and mixing families in proportion to their weights."""

from collections import Counter
from dataclasses import replace

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


def tokens_kept(keys, families, tokens, weights):
    keep = fit_mixture(keys, families, tokens, weights)
    return {name: int(tokens[(np.array(families) == name) & keep].sum()) for name in set(families)}


def test_tokens_are_proportional_to_the_weights_and_the_scarcest_family_is_kept_whole():
    kept = tokens_kept(*samples(1000, 300, 900), {"continuation": 2, "asr": 1, "tts": 1})
    assert kept == {"continuation": 60_000, "asr": 30_000, "tts": 30_000}


def test_without_weights_all_samples_are_kept():
    assert fit_mixture(*samples(10, 3), {}).all()


def test_a_family_without_samples_does_not_limit_the_others():
    assert tokens_kept(*samples(10, 10), {"continuation": 1, "asr": 1, "tts": 5}) == {
        "continuation": 1000,
        "asr": 1000,
    }


@given(
    counts=st.tuples(*[st.integers(1, 200)] * 3),
    weights=st.tuples(*[st.floats(0.1, 10)] * 3),
    seed=st.integers(0, 100),
)
def test_every_family_is_within_one_sample_below_its_share(counts, weights, seed):
    keys, families, _ = samples(*counts)
    tokens = np.random.default_rng(seed).integers(1, 500, len(keys))
    weight_of = dict(zip(FAMILIES, weights, strict=True))
    kept = tokens_kept(keys, families, tokens, weight_of)
    available = tokens_kept(keys, families, tokens, {})
    tokens_per_weight = min(available[name] / weight for name, weight in weight_of.items())
    for name, weight in weight_of.items():
        assert kept[name] <= tokens_per_weight * weight * (1 + 1e-6)
        assert kept[name] > tokens_per_weight * weight - 500
    assert any(kept[name] == available[name] for name in FAMILIES)


def test_the_choice_depends_neither_on_the_order_nor_on_later_samples():
    keys, families, tokens = samples(500, 100)
    weights = {"continuation": 1, "asr": 1}
    kept = {key for key, s in zip(keys, fit_mixture(keys, families, tokens, weights), strict=True) if s}
    backwards = fit_mixture(keys[::-1], families[::-1], tokens[::-1], weights)
    assert kept == {key for key, s in zip(keys[::-1], backwards, strict=True) if s}
    more = ([*keys, "new-asr"], [*families, "asr"], np.append(tokens, 100))
    grown = {key for key, s in zip(more[0], fit_mixture(*more, weights), strict=True) if s}
    assert kept < grown
    assert len(grown - kept) == 2


def turns(count, seconds=10.0, recordings=1, speaker="A", language="en"):
    return [
        MixtureTurn(f"{language}-{r}-{n}", f"{language}-{r}.wav", n * seconds, seconds, speaker, language)
        for r in range(recordings)
        for n in range(count)
    ]


class TestCaps:
    def test_the_hours_of_a_speaker_or_language_are_capped(self):
        dropped = exceeding_caps(turns(360, recordings=2), MixtureConfig(speaker_hours_max=0.5))
        assert len(dropped) == 720 - 180
        assert set(dropped.values()) == {"speaker"}
        mixed = [*turns(100, language="en"), *turns(100, recordings=3, language="zh")]
        dropped = exceeding_caps(mixed, MixtureConfig(language_hours_max=0.5))
        assert len(dropped) == 300 - 180
        assert set(dropped.values()) == {"language"}
        assert all(key.startswith("zh") for key in dropped)

    def test_the_hours_of_a_dialect_are_capped_and_other_turns_are_not(self):
        plain = turns(100, language="zh")
        spoken = [
            replace(turn, key=f"{turn.key}-{dialect}", dialect=dialect)
            for dialect in ("cantonese", "sichuanese")
            for turn in turns(100, recordings=3, language="zh")
        ]
        dropped = exceeding_caps([*plain, *spoken], MixtureConfig(dialect_hours_max=0.5))
        assert set(dropped.values()) == {"dialect"}
        assert Counter(key.rpartition("-")[2] for key in dropped) == {"cantonese": 120, "sichuanese": 120}

    def test_without_caps_no_turn_is_dropped(self):
        assert exceeding_caps(turns(1000), MixtureConfig()) == {}

    def test_turns_are_dropped_in_windows_of_five_minutes(self):
        dropped = exceeding_caps(turns(360), MixtureConfig(speaker_hours_max=0.5))
        windows = {}
        for n in range(360):
            windows.setdefault(n * 10 // 300, set()).add(f"en-0-{n}" in dropped)
        assert all(len(outcomes) == 1 for outcomes in windows.values())

    def test_what_is_used_already_counts(self):
        config = MixtureConfig(speaker_hours_max=0.5, language_hours_max=1)
        used = {"speaker": {"A": 1600.0, "B": 1800.0}, "language": {"en": 3600.0}}
        assert len(exceeding_caps(turns(30, language="zh"), config, used)) == 10
        assert set(exceeding_caps(turns(3, speaker="B"), config, used).values()) == {"speaker"}
        assert set(exceeding_caps(turns(3, speaker="C"), config, used).values()) == {"language"}
        assert used["speaker"]["A"] == 1600.0

    @given(st.randoms())
    def test_the_order_of_turns_does_not_matter(self, random):
        config = MixtureConfig(speaker_hours_max=0.2)
        shuffled = turns(100, recordings=2)
        random.shuffle(shuffled)
        assert exceeding_caps(shuffled, config) == exceeding_caps(turns(100, recordings=2), config)


def test_a_weight_must_be_positive():
    with pytest.raises(ValueError, match="greater than 0"):
        MixtureConfig(weights={"asr": 0})
