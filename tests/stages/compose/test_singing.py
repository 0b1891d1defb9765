"""Songs: lines that are sung, gone on with, spoken and named."""

import pytest

from schemas.errors import DataError
from schemas.layout import whole_groups
from schemas.sample import Text
from stages.compose import ComposeConfig, compose, lines_in_a_row, of_turns
from tests.stages.annotated import a_turn

CONFIG = ComposeConfig()


def a_line(index=0, heard="Happy birthday to you", known="Happy birthday to you", **arguments):
    return a_turn(
        index=index,
        start=5.0 * index,
        end=5.0 * index + 4,
        text=heard,
        known_text=known,
        sings=True,
        **{"sidecar": {"title": "Happy birthday", "artist": "Hill"}} | arguments,
    )


def composed(family, *lines):
    *before, line = lines
    draft = compose(family, of_turns([line], *before), CONFIG)
    human, assistant = draft.messages
    assert (human.role, assistant.role) == ("human", "assistant")
    return human.content, assistant.content


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("family", ["sing", "nextline", "lyrics", "songname"])
def test_the_instruction_is_in_the_language_of_the_song(family, language):
    lines = [a_line(n, language=language) for n in range(2 if family == "nextline" else 1)]
    (instruction, _), _ = composed(family, *lines)
    assert instruction.text in getattr(CONFIG, f"{family}_instructions")[language]


def test_a_line_is_sung_from_its_lyrics_and_not_from_what_is_heard():
    line = a_line(heard="happy birth day to you")
    (_, words), (sung,) = composed("sing", line)
    assert words == Text("Happy birthday to you")
    assert sung.codes == whole_groups(line.codes)


def test_the_words_of_a_line_are_its_lyrics():
    (_, sung), (words,) = composed("lyrics", a_line(heard="happy birthday to you"))
    assert (sung.turn, words) == (0, Text("Happy birthday to you"))


def test_the_words_of_an_lrc_file_are_those_of_the_turn():
    (_, words), _ = composed("sing", a_line(heard="Happy birthday to you", known=None, source="lrc"))
    assert words == Text("Happy birthday to you")


def test_the_next_line_goes_on():
    first, second = a_line(0), a_line(1)
    (_, sung), (answer,) = composed("nextline", first, second)
    assert (sung.codes, answer.codes) == (whole_groups(first.codes), whole_groups(second.codes))


@pytest.mark.parametrize(
    ("sidecar", "language", "name"),
    [
        ({"title": "Happy birthday", "artist": "Hill"}, "en", "It is “Happy birthday” by Hill."),
        ({"title": "{x}", "artist": ""}, "en", "It is “{x}”."),
        ({"title": "茉莉花", "artist": "民歌"}, "zh", "这是民歌的《茉莉花》。"),
        ({"title": "茉莉花"}, "yue", "这是《茉莉花》。"),
    ],
)
def test_a_song_has_the_name_that_its_sidecar_gives(sidecar, language, name):
    _, (answer,) = composed("songname", a_line(sidecar=sidecar, language=language))
    assert answer == Text(name)


@pytest.mark.parametrize(
    ("family", "line", "code"),
    [
        ("sing", a_line(known=None), "no_lyrics"),
        ("sing", a_line(known=""), "no_lyrics"),
        ("lyrics", a_line(heard="happy", known="Happy birthday to you"), "part_of_line"),
        ("songname", a_line(sidecar={"artist": "Hill"}), "no_title"),
        ("songname", a_line(sidecar={"title": 7}), "no_title"),
    ],
)
def test_what_is_not_known_is_not_asked(family, line, code):
    with pytest.raises(DataError) as caught:
        compose(family, of_turns([line]), CONFIG)
    assert caught.value.code == code


class TestLinesInARow:
    LINES = tuple(a_line(n) for n in range(3))

    def pairs(self, turns, kept=(0, 1, 2), gap=5.0):
        return [(a.index, b.index) for a, b in lines_in_a_row(turns, kept, gap)]

    def test_each_line_is_followed_by_the_next(self):
        assert self.pairs(self.LINES) == [(0, 1), (1, 2)]

    def test_a_line_that_is_not_kept_or_far_away_is_no_next_one(self):
        assert self.pairs(self.LINES, kept=(0, 2)) == []
        assert self.pairs(self.LINES, gap=0.5) == []

    def test_another_voice_or_speech_is_no_next_line(self):
        other = a_line(1, speaker="B")
        assert self.pairs([self.LINES[0], other, self.LINES[2]]) == []
        assert self.pairs([a_turn(index=n, start=5 * n, end=5 * n + 4) for n in range(3)]) == []
