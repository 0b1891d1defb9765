"""What is heard is compared with the text that a companion or the sidecar gives."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.recording import Turn
from stages.select import SelectConfig, select
from stages.select.known_text import bad_lyrics, look_up, other_language, text_in, with_known_text
from tests.stages.annotated import a_turn

SONG = "Row, row, row your boat\nGently down the stream\nMerrily merrily merrily merrily\nLife is but a dream"


def known(turn, **transcript):
    compared = with_known_text(replace(turn, transcript=replace(turn.transcript, **transcript)))
    return compared.transcript.known_text, compared.transcript.known_text_error


def test_the_text_of_a_companion_is_compared_with_what_is_heard():
    turn = a_turn(text="I have lived here")
    assert known(turn, source="srt", heard_text="I have lived here") == ("I have lived here", 0.0)
    assert known(turn, source="srt", heard_text="I had lived") == ("I have lived here", 0.5)
    assert known(turn, source="srt", heard_text="") == ("I have lived here", 1.0)


def test_text_that_nobody_was_asked_to_hear_is_not_compared():
    assert known(a_turn(sidecar={"lyrics": SONG}), source="srt") == (None, None)
    assert known(a_turn(sidecar={"lyrics": SONG}), source="person") == (None, None)
    assert known(a_turn()) == (None, None)


def test_given_turns_whose_text_the_recipe_ignores_are_compared_as_well():
    given_turn = Turn(0.0, 4.0, "A", 0, False, text="I had lived here all my life")
    assert known(replace(a_turn(), turn=given_turn)) == ("I had lived here all my life", 1 / 7)


def test_a_turn_is_found_in_the_lines_of_the_lyrics():
    turn = a_turn(text="Gently down a stream", sidecar={"lyrics": SONG})
    assert known(turn) == ("Gently down the stream", 0.25)


@pytest.mark.parametrize(
    ("heard", "lines", "rate"),
    [
        ("down the stream merrily merrily", "Gently down the stream Merrily merrily merrily merrily", 0.0),
        ("row row row your boat", "Row, row, row your boat", 0.0),
        ("life is a but dream", "Life is but a dream", 0.4),
        ("the weather will be fine tomorrow", None, 5 / 6),
        ("quarterly figures", "", 1.0),
    ],
)
def test_the_place_of_what_is_heard_and_its_errors(heard, lines, rate):
    place = look_up(heard, SONG, "en")
    assert place.error_rate == pytest.approx(rate)
    assert lines is None or place.text == lines


def test_scripts_without_spaces_are_compared_by_characters_and_variants_are_equal():
    place = look_up("微風輕拂過臉龐", "兩旁開滿了金黃的稻穗\n微风轻拂过脸庞\n带来泥土的芬芳", "zh")
    assert (place.text, place.error_rate) == ("微风轻拂过脸庞", 0.0)
    assert look_up("微風輕浮過臉胖", "微风轻拂过脸庞", "zh").error_rate == pytest.approx(2 / 7)


def test_lyrics_may_have_times_and_a_text_may_be_in_sentences():
    assert look_up("gently down", "[00:01.00]Row\n[00:02.00]Gently down", "en").text == "Gently down"
    assert look_up("and sat down", "He came in. And [laughs] sat down! He left.", "en").error_rate == 0
    assert look_up("and sat down", "He came in. And sat down! Then left.", "en").text == "And sat down!"


def test_lyrics_come_before_the_text_of_a_sidecar():
    assert text_in({"lyrics": "la", "text": "spoken"}) == "la"
    assert text_in({"transcript": "spoken", "lyrics": " "}) == "spoken"
    assert text_in({"title": "song"}) == ""


def test_lyrics_that_are_none_are_told():
    assert bad_lyrics({}) is bad_lyrics({"lyrics": ""}) is bad_lyrics({"lyrics": SONG}) is None
    assert "are list, not a text" in bad_lyrics({"lyrics": ["la", "la"]}).message
    assert "hold no words" in bad_lyrics({"lyrics": "[00:01.00]"}).message


words = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30)


@given(words, st.data())
def test_any_stretch_of_a_text_is_found_without_an_error(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    place = look_up(" ".join(text[start:end]), " ".join(text), "de")
    assert (place.error_rate, place.text) == (0.0, " ".join(text))


@given(words, words)
def test_an_error_rate_is_a_share(heard, text):
    assert 0 <= look_up(" ".join(heard), " ".join(text), "de").error_rate <= 1


class TestOtherLanguage:
    """Lyrics in another language than what is heard are told as such."""

    CHINESE = "好一朵美丽的茉莉花"

    @pytest.mark.parametrize(
        ("turn", "told"),
        [
            (a_turn(sidecar={"lyrics": CHINESE}), "is in Chinese characters, and what is heard in Latin"),
            (
                a_turn(text="きれいな花", language="ja", sidecar={"lyrics": CHINESE}),
                "is in Chinese characters, and what is heard in Japanese",
            ),
            (
                a_turn(text="Красная роза", sidecar={"lyrics": SONG}),
                "is in Latin, and what is heard in Cyrillic",
            ),
            (
                a_turn(sidecar={"lyrics": "Frère Jacques, dormez-vous", "language": "fr"}),
                "is in fr by the sidecar, and what is heard in en",
            ),
        ],
    )
    def test_it_is_told_with_both_and_what_to_do(self, turn, told):
        message = other_language(turn)
        assert told in message
        assert "give the words that are sung" in message

    def test_given_lines_are_compared_with_what_is_heard_in_them(self):
        turn = a_turn(text=self.CHINESE, source="lrc")
        heard = replace(turn, transcript=replace(turn.transcript, heard_text="such a pretty flower"))
        assert "is in Chinese characters" in other_language(heard)

    @pytest.mark.parametrize(
        "turn",
        [
            a_turn(sidecar={"lyrics": SONG}),
            a_turn(sidecar={"lyrics": SONG, "language": "en-GB"}),
            a_turn(sidecar={"lyrics": ""}),
            a_turn(text="12", sidecar={"lyrics": CHINESE}),
            a_turn(transcript=False),
        ],
    )
    def test_what_cannot_be_told_is_not(self, turn):
        assert other_language(turn) is None

    def test_only_where_the_words_differ_the_turn_is_set_aside(self):
        config = SelectConfig(known_text_error_max=0.6)
        other = a_turn(sidecar={"lyrics": self.CHINESE}, known_text_error=1.0)
        assert select(other, config).code == "text_in_other_language"
        same = a_turn(sidecar={"lyrics": SONG, "language": "fr"}, known_text_error=0.2)
        assert select(same, config) is None
