"""Ways to ask for a way to speak, from templates that combine."""

from pathlib import Path

import pytest

import stages.synthesize.asking
from schemas.errors import SetupError
from stages.synthesize.asking.phrasings import AskingTemplates, is_held_out
from stages.synthesize.talk.draws import Draws

FOLDER = Path(stages.synthesize.asking.__file__).parent
CONTROLS = ("slow", "fast", "loud", "soft", "high", "low", "happy", "sad")
SMALL = """\
how: {style} | really {style}
with: {question} Speak {how}.
again: Now {how}.
first: first {how}
then: , then {how}
change: {question} Speak {parts}.
slow.style: slowly
loud.style: loudly
"""


def packaged(language):
    return AskingTemplates((FOLDER / f"{language}.txt").read_text(encoding="utf-8"), f"{language}.txt")


@pytest.mark.parametrize("language", ["en", "zh"])
class TestPackaged:
    @pytest.mark.parametrize("style", CONTROLS)
    def test_there_are_a_hundred_for_each_control_and_some_are_held_out(self, language, style):
        for form, least in (("with", 100), ("again", 40)):
            found = list(packaged(language).phrasings(form, style))
            assert len(found) == len(set(found)) >= least
            assert 0 < sum(map(is_held_out, found)) < 0.3 * len(found)

    def test_controls_are_asked_for_in_words_of_their_own(self, language):
        phrasings = packaged(language)
        asked = [phrasing for style in CONTROLS for phrasing in phrasings.phrasings("with", style)]
        assert len(asked) == len(set(asked))

    @pytest.mark.parametrize("form", ["with", "again", "change"])
    def test_held_out_phrasings_are_drawn_only_where_they_are_wanted(self, language, form):
        phrasings, question = packaged(language), {"en": "Tell me a story.", "zh": "讲个故事。"}[language]
        styles = ("slow", "plain", "happy") if form == "change" else ("slow",)
        drawn = {
            held_out: {phrasings.drawn(Draws(f"{n}"), form, styles, question, held_out)[0] for n in range(50)}
            for held_out in (False, True)
        }
        assert all(is_held_out(phrasing) for phrasing in drawn[True])
        assert not any(is_held_out(phrasing) for phrasing in drawn[False])

    def test_only_a_sentence_goes_on_behind_its_last_word(self, language):
        phrasings, question = packaged(language), {"en": "Where is it?", "zh": "它在哪里？"}[language]
        for n in range(50):
            phrasing, asked = phrasings.drawn(Draws(f"{n}"), "with", ("fast",), question, False)
            assert "{question}" in phrasing
            assert question in asked


def test_slots_combine_and_some_belong_to_a_style():
    phrasings = AskingTemplates(SMALL, "small.txt")
    assert phrasings.styles == {"slow", "loud"}
    assert list(phrasings.phrasings("with", "slow")) == [
        "{question} Speak slowly.",
        "{question} Speak really slowly.",
    ]
    _, asked = phrasings.drawn(Draws("1"), "change", ("slow", "loud", "slow"), "Why?", False)
    first, then, last = asked.removeprefix("Why? Speak ").removesuffix(".").split(", then ")
    assert first.removeprefix("first ").removeprefix("really ") == "slowly"
    assert then.removeprefix("really ") == "loudly"
    assert last.removeprefix("really ") == "slowly"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("again: Now {hoow}.", r"small\.txt:9: unknown slot \{hoow\}: add a line `hoow: \.\.`, or .*\{how\}"),
        ("again: {question} again", r"small\.txt:9: \{question\} can't stand in `again`"),
        ("with: Speak {how}.", r"small\.txt:9: 'Speak \{how\}\.' needs either \{question\} or \{request\}"),
        ("change: {question} Speak.", r"small\.txt:9: .* needs \{parts\}"),
        ("soft.way: softly", r"\{style\} has no wording for the style soft: add a line `soft\.style"),
        ("how: {how} indeed", r"small\.txt:9: \{how\} stands within itself"),
        ("with: {question} {how", r"small\.txt:9: .*a brace without its other one"),
        ("say it {how}", r"small\.txt:9: .*is no `name: alternative"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_a_remedy(wrong, told):
    with pytest.raises(SetupError, match=told):
        AskingTemplates(SMALL + wrong, "small.txt")


def test_a_missing_form_is_told():
    with pytest.raises(SetupError, match=r"small\.txt has no line `again: \.\.`"):
        AskingTemplates(SMALL.replace("again: Now {how}.\n", ""), "small.txt")
