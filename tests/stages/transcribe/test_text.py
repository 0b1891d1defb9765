"""The parts of transcribe without a model: windows, languages of turns, measures of text, existing text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.recording import Turn
from stages.transcribe.languages import languages, sum_in_order
from stages.transcribe.measures import (
    compression_ratio,
    is_phantom,
    letters,
    repeated_share,
    words_of,
)
from stages.transcribe.text import clean, script_converter
from stages.transcribe.windows import MARGIN, MAX_SECONDS, PAUSE, excerpts, length, owner, pack, spans

# --- windows


@st.composite
def turns(draw):
    """Turns of up to 29 s on two tracks in order of start, some of them overlapping."""
    result, at = [], 0.0
    for _ in range(draw(st.integers(0, 40))):
        at += draw(st.floats(0, 5))
        seconds = draw(st.floats(0.2, 29))
        result.append(Turn(at, at + seconds, "a", draw(st.integers(0, 1)), False))
        at += draw(st.floats(0, 1)) * seconds
    return result


@given(turns(), st.data())
def test_every_live_turn_is_in_one_window_of_its_track_in_order_within_the_limit(turns, data):
    live = sorted(data.draw(st.sets(st.sampled_from(range(len(turns)))))) if turns else []
    windows = pack(excerpts(turns, live))
    assert sorted(excerpt.turn for window in windows for excerpt in window) == live
    for window in windows:
        assert [excerpt.turn for excerpt in window] == sorted(excerpt.turn for excerpt in window)
        assert len({excerpt.track for excerpt in window}) == 1
        assert length(window) <= MAX_SECONDS


@given(turns())
def test_an_excerpt_contains_its_turn_and_at_most_half_of_the_pauses_around_it(turns):
    for excerpt in excerpts(turns, range(len(turns))):
        turn = turns[excerpt.turn]
        assert max(0.0, turn.start - MARGIN) <= excerpt.start <= turn.start
        assert turn.end <= excerpt.end <= turn.end + MARGIN
        for other in turns:
            if other.track == turn.track and other.start >= turn.end:
                assert excerpt.end <= turn.end + (other.start - turn.end) / 2 + 1e-9


@given(st.lists(st.floats(0.01, 30), max_size=60))
def test_spans_follow_each_other_with_pauses(seconds):
    at = 0.0
    for k, (start, end) in enumerate(spans(seconds)):
        assert start == at + k * PAUSE
        assert end == start + seconds[k]
        at += seconds[k]


@pytest.mark.parametrize(
    ("start", "end", "excerpt"),
    [
        (0.1, 0.4, 0),
        (1.8, 2.6, 0),  # stretched into the pause
        (2.1, 2.3, 0),  # in the pause, nearer the first
        (2.2, 2.4, 1),
        (2.1, 2.9, 1),
        (1.9, 2.9, 1),
        (9.0, 9.2, 1),
    ],
)
def test_a_word_belongs_to_the_excerpt_that_contains_most_of_it(start, end, excerpt):
    times = spans([2.0, 4.0])
    assert times == [(0.0, 2.0), (2.0 + PAUSE, 6.0 + PAUSE)]
    assert owner(start, end, times) == excerpt


def test_short_turns_share_a_window():
    talk = [Turn(10.0 * i, 10.0 * i + 4, "a", 0, False) for i in range(12)]
    assert [len(window) for window in pack(excerpts(talk, range(12)))] == [6, 6]


# --- languages


def test_an_ambiguous_turn_gets_the_language_of_the_recording_and_a_clear_one_keeps_its_own():
    english, hm, chinese = {"en": 0.97, "zh": 0.03}, {"en": 0.3, "zh": 0.7}, {"en": 0.001, "zh": 0.999}
    result = languages([english] * 10 + [hm, chinese], [4.0] * 10 + [0.5, 5.0])
    assert [language for language, _ in result] == ["en"] * 11 + ["zh"]
    assert all(0.5 < probability <= 1 for _, probability in result)


def test_both_halves_of_a_bilingual_talk_keep_their_language():
    english, chinese = {"en": 0.8, "zh": 0.2}, {"en": 0.2, "zh": 0.8}
    assert [name for name, _ in languages([english, chinese] * 5, [3.0] * 10)] == ["en", "zh"] * 5


def test_languages_do_not_depend_on_the_order_of_turns():
    detected = [{"en": 0.5, "de": 0.5}, {"en": 0.4, "de": 0.6}, {"en": 0.9, "de": 0.1}]
    forward, backward = languages(detected, [1.0, 2.0, 3.0]), languages(detected[::-1], [3.0, 2.0, 1.0])
    assert dict(enumerate(backward[::-1])) == dict(enumerate(forward))


# --- measures


def test_probabilities_are_summed_alike_by_every_python():
    assert sum_in_order([0.1] * 10) == 0.9999999999999999  # the built-in sum gives 1.0 from Python 3.12 on


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("Don't, well-known: 3 cats!", "en", ["don't", "well-known", "3", "cats"]),
        ("我用 iPhone，真的。", "zh", ["我", "用", "iphone", "真", "的"]),
        ("Straße und Öl", "de", ["strasse", "und", "öl"]),
        ("...", "en", []),
    ],
)
def test_words_are_split_as_in_the_language(text, language, words):
    assert words_of(text, language) == words


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("I think so", 0.0),
        ("no no no", 0.0),
        ("thou also thou also", 0.0),
        ("and then we went and then we came", 0.0),
        ("thank you thank you thank you thank you", 1.0),
        ("so the thing is the thing is the thing is over", 9 / 11),
    ],
)
def test_repeated_share_counts_words_in_loops(text, share):
    assert repeated_share(text.split(), 3) == pytest.approx(share)


def test_a_loop_has_a_high_compression_ratio():
    assert compression_ratio("I was there. " * 20) > 2.4
    assert compression_ratio("He asked himself, something warm and living must be near.") < 1.3
    assert letters(" a b\tc ") == 3


@pytest.mark.parametrize(
    "text",
    [
        "Thanks for watching!",
        "Thanks for watching! Thanks for watching!",
        "Please subscribe. See you in the next video.",
        "And so on. Subtitles by the Amara.org community",
        "字幕由 Amara.org 社群提供",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
        "Untertitel der Amara.org-Community",
        "Sous-titres réalisés para la communauté d'Amara.org",
        "Продолжение следует...",
        "ご視聴ありがとうございました",
    ],
)
def test_hallucinated_phrases_are_detected_in_several_languages(text):
    assert is_phantom(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "Thank you.",
        "Bye.",
        "He said thanks for watching the kids.",
        "谢谢你来看我",
        "Продолжение истории",
    ],
)
def test_ordinary_speech_is_not_a_hallucinated_phrase(text):
    assert not is_phantom(text)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\u00a0\tb\nc  d", "a b c d"),
        ("cafe\u0301", "café"),
        ("he\x00llo\ufeff", "he llo "),
        ("一\u3000二", "一 二"),
    ],
)
def test_text_is_normalized_with_single_spaces(text, cleaned):
    assert clean(text) == cleaned


def test_chinese_text_is_converted_to_the_chosen_script():
    assert script_converter("simplified")("頭髮發現") == "头发发现"
    assert script_converter("traditional")("头发发现") == "頭髮發現"
    assert script_converter("keep")("頭发") == "頭发"
