"""A version for a released model is laid out as that model was trained."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.training.checks import _refuse_letters, _refuse_other_layout
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


@pytest.mark.parametrize(
    ("is_foreign", "tokenizer", "message"),
    [
        (False, "package:talk-tokenizer", None),
        (True, "package:talk-tokenizer", "needs a Step-1 model"),
        (False, "file:/nowhere/tokenizer.json", "needs the version's text tokenizer: .*nowhere"),
    ],
)
def test_a_model_that_cannot_learn_letters_is_refused(is_foreign, tokenizer, message):
    manifest = SimpleNamespace(recipe={"vocabulary": {"tokenizer": tokenizer}})
    stage = SimpleNamespace(version=SimpleNamespace(manifest=manifest))
    with pytest.raises(SetupError, match=f"sft1: .*{message}") if message else nullcontext():
        _refuse_letters(stage, is_foreign, "sft1")
