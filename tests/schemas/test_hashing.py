"""The values decide splits, shuffles and draws of every published version: a change here changes them all."""

import pytest

from schemas.hashing import hash_fraction, hash_integer, shuffle_key

TEXTS = ("", "a", "speech/0001.wav", "会話 7", "mixture:k-1", "history:k-1")


def test_integers_keep_their_values():
    assert [hash_integer(text) for text in TEXTS] == [
        16406829232824261652,
        14598278634844962250,
        13002309463906141599,
        10991748125282342264,
        6932974374157694314,
        1352364451807780758,
    ]


@pytest.mark.parametrize(
    ("bits", "values"),
    [
        (
            64,
            [
                *(0.8894159948913374, 0.7913742705223816, 0.7048566084047937),
                *(0.5958638598422293, 0.3758372939124051, 0.07331182383210821),
            ],
        ),
        (
            48,
            [
                *(0.8894159948913369, 0.791374270522379, 0.7048566084047927),
                *(0.595863859842229, 0.3758372939124044, 0.07331182383210688),
            ],
        ),
    ],
)
def test_fractions_keep_their_values(bits, values):
    assert [hash_fraction(text, bits) for text in TEXTS] == values


def test_shuffle_keys_keep_their_values():
    assert shuffle_key("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert shuffle_key("会話 7") == "988a88aee405157860b88b0687f64291a7c3d87985eb4758171b87349403ce01"


def test_fractions_are_spread_evenly_over_0_to_1():
    values = sorted(hash_fraction(str(n)) for n in range(1000))
    assert 0 <= values[0] < 0.01
    assert 0.99 < values[-1] < 1
    assert abs(values[500] - 0.5) < 0.05
