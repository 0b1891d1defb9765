"""The words of the closed world."""

from itertools import chain

from pipeline.models import resolve
from schemas.vocabulary import Vocabulary
from stages.synthesize.talk import training_dialogues
from stages.synthesize.talk.words import COLORED, COUNTED, OPPOSITES, SPELLED, number


def test_numbers_are_words():
    assert [number(n) for n in (0, 7, 13, 20, 21, 90, 99, 100)] == [
        *("zero", "seven", "thirteen", "twenty", "twenty-one", "ninety", "ninety-nine", "one hundred")
    ]
    assert len({number(n) for n in range(101)}) == 101


def test_a_fact_has_one_answer():
    assert len(set(chain(*OPPOSITES))) == 2 * len(OPPOSITES)
    assert len({thing for thing, *_ in COLORED}) == len(COLORED)
    assert len({(things, asked) for things, asked, *_ in COUNTED}) == len(COUNTED)


def test_there_are_many_short_words_to_spell():
    assert len(set(SPELLED)) == len(SPELLED) > 300
    assert all(2 < len(word) < 8 and word.isascii() and word.islower() for word in SPELLED)


def test_the_text_tokenizer_of_the_recipe_knows_these_words():
    vocabulary = Vocabulary.embedded(resolve("package:talk-tokenizer").path)
    assert vocabulary.size < 7_000
    texts = [each.answer for dialogue in training_dialogues(500) for each in dialogue.exchanges]
    ids = [vocabulary.encode(text) for text in texts]
    assert [vocabulary.decode(each) for each in ids] == texts
    marks = sum(text.count(mark) for text in texts for mark in ",.?:'-")
    assert sum(map(len, ids)) < 1.15 * (sum(len(text.split()) for text in texts) + marks)
