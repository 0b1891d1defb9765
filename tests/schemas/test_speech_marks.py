"""One spelling for what is heard besides words, which never counts as a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.speech_marks import SPELLINGS, with_marks, without_marks
from stages.select.known_text import look_up
from stages.synthesize.checks import error_rate
from stages.word_errors import errors


@pytest.mark.parametrize(
    ("written", "marked"),
    [
        ("I know. [laughter] Really.", "I know. [Laughter] Really."),
        ("(LAUGHS) I know.", "[Laughter] I know."),
        ("<breath> And {sigh} so on", "[Breathing] And [Sigh] so on"),
        ("%hesitation I think so (%HESITATION)", "[Uhm] I think so [Uhm]"),
        ("Um, I think, uhh, so.", "[Uhm], I think, [Uhm], so."),
        ("我知道【笑】呃，是的（停顿）。", "我知道[Laughter][Uhm]，是的[Pause]。"),
        ("[music] It costs (about) 20 % of the sum in an album", None),
    ],
)
def test_marks_of_transcripts_are_spelt_in_one_way(written, marked):
    assert with_marks(written) == (marked or written)
    assert with_marks(with_marks(written)) == with_marks(written)


PIECES = [*SPELLINGS, "I", "know", "你好", ",", "summer", "[music]"]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_marks_survive_the_tokenizer_and_leave_no_words_behind(vocabulary, pieces):
    text = " ".join(pieces)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert without_marks(text) == " ".join(piece for piece in pieces if piece not in SPELLINGS)


def test_marks_are_no_errors_and_no_words():
    said, marked = "I know that you live here", "[Laughter] I know [Pause] that you [breath] live here"
    for a, b in ((said, marked), (marked, said)):
        assert (errors("en", a, b).wrong, errors("en", a, b).of) == (0, 6)
        assert error_rate(a, b) == 0
    assert errors("zh", "你好【笑】世界", "你好世界").wrong == 0
    assert errors("en", "[Laughter] [Sigh]", "") is None
    assert look_up(said, f"{marked}\nAnother line.", "en").error_rate == 0
