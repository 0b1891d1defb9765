"""Items are compared with sketches of others as they are with one another."""

import random

import numpy as np
import pytest

from stages.select import Item, SketchIndex, duplicates, sketches, text_item
from stages.select.duplicates import MAX_NEIGHBOURS


def texts(count, seed=0, prefix="w"):
    draw = random.Random(seed)
    return [" ".join(f"{prefix}{draw.randrange(9999)}" for _ in range(50)) for _ in range(count)]


def items(texts, prefix):
    return [text_item(f"{prefix}{n}", text, 8) for n, text in enumerate(texts)]


def edited(text, words):
    """With other words at its end: of 48 triples, those with them differ."""
    kept = text.split()[: 50 - words]
    return " ".join([*kept, *(f"other{n}" for n in range(words))])


def found(own, others, similarity=0.8):
    return dict(SketchIndex(own, similarity).duplicates(sketches(others)))


def test_what_is_similar_is_found_and_nothing_else():
    before = texts(40)
    own = [edited(text, n % 10) for n, text in enumerate(before)] + texts(40, seed=1)
    a, b = items(own, "a"), items(before, "b")
    expected = {
        n: m
        for n, one in enumerate(a)
        for m, other in enumerate(b)
        if (one.signature == other.signature).mean() >= 0.8
    }
    assert found(a, b) == expected
    assert 10 < len(expected) < 40
    pairs = {(one.name, other.name) for one in a for other in b if duplicates([one, other], 0.8)}
    assert {(a[n].name, b[m].name) for n, m in expected.items()} == pairs


def test_the_first_of_several_is_told():
    (text,) = texts(1)
    own = items([edited(text, 1)], "a")
    assert found(own, items([*texts(3, seed=2), edited(text, 2), text, text], "b")) == {0: 3}


def test_items_without_words_are_compared_by_content():
    own = [Item("a", "1" * 64, None), Item("b", "2" * 64, None), *items(texts(1), "c")]
    others = [Item("x", "3" * 64, None), *items(texts(2, seed=3), "y"), Item("z", "2" * 64, None)]
    assert found(own, others) == {1: 3}


@pytest.mark.parametrize("others", [[], [Item("x", "1", None)]])
def test_nothing_is_similar_to_nothing(others):
    assert found(items(texts(2), "a"), others) == {}


def test_an_item_is_found_among_very_many_copies():
    (text,) = texts(1)
    assert found(items([*texts(5, seed=1), text], "a"), items([text], "b") * (3 * MAX_NEIGHBOURS)) == {5: 0}


def test_only_the_lowest_bytes_of_signatures_are_left():
    (item,) = items(texts(1), "a")
    drawn = sketches([item])
    assert drawn.signatures.nbytes == 128
    assert np.array_equal(drawn.signatures[0], item.signature % 256)
    assert drawn.bands.shape == (1, 32)
