"""A version for a released model is laid out as that model was trained."""

from pathlib import Path

import pytest

from pipeline.training.checks import _refuse_other_layout
from schemas.errors import SetupError
from schemas.vocabulary import LayoutOptions, Vocabulary

CHAT = LayoutOptions(chat_bos=True, audio_markers=False, prefix_newline=True, default_system="Be kind.")


def refuse(step1_tokenizer, built, public=CHAT):
    expected = Vocabulary.of("step1", step1_tokenizer, public)
    _refuse_other_layout(Path("chat"), expected, built.describe(), "sft1")


def test_only_the_system_prompt_may_be_another(step1_tokenizer):
    refuse(step1_tokenizer, Vocabulary.of("step1", step1_tokenizer, CHAT))
    refuse(step1_tokenizer, Vocabulary.of("step1", step1_tokenizer, LayoutOptions(True, False, True)))


@pytest.mark.parametrize(
    ("options", "differing"),
    [
        (LayoutOptions(True, True, True), r"\(specials, audio_markers true\)"),
        (LayoutOptions(False, False, True), r"\(chat_bos false\)"),
        (LayoutOptions(True, False, False), r"\(prefix_newline false\)"),
    ],
)
def test_what_differs_is_named(step1_tokenizer, options, differing):
    with pytest.raises(SetupError, match=f"sft1: the version is not laid out as chat was .* {differing}"):
        refuse(step1_tokenizer, Vocabulary.of("step1", step1_tokenizer, options))


def test_another_tokenizer_is_named(step1_tokenizer, vocabulary):
    with pytest.raises(SetupError, match=r"\(tokenizer_sha256, specials, linguistic, .*audio_markers: false"):
        refuse(step1_tokenizer, vocabulary)
