"""SentencePiece's own ids for any text, from its `tokenizer.model`."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from schemas.errors import SetupError
from schemas.sentencepiece import tokenizer_document
from schemas.vocabulary import Vocabulary
from tests.schemas.sentence_pieces import BPE, NORMAL, SYMBOLS, step1_like, write_model

GOLDEN = [
    ("The inn  stands  ", "355 312 6493 37310 6952 26479 19936 6952"),
    (
        "語音モデル 一丁龻",
        "355 237 175 163 238 164 184 232 136 167 232 136 140 232 136 176 355 356 357 238 195 192",
    ),
    (" a  b   aaaaaaa", "355 6577 6952 326 6952 39592 6768 6768"),
    ("x\n\n\ty", "6440 15 15 14 349"),
    (
        "<|EOT|> <s> <0x0A> <audio_5>",
        "355 288 352 297 307 312 352 290 355 288 343 290 355 288 276 348 276 "
        "293 290 355 288 6615 27943 323 281 290",
    ),
    ("é🎙", "355 200 174 245 164 147 158"),
    ("thins the things", "53300 36528 18696 6578 6683"),
]
"""Texts and their ids, as the sentencepiece library (0.2.3) encodes them with the same file."""


@pytest.fixture(scope="module")
def tokenizer(step1_tokenizer):
    return Tokenizer.from_str(
        json.dumps(tokenizer_document((step1_tokenizer / "tokenizer.model").read_bytes()))
    )


@pytest.mark.parametrize(("text", "ids"), GOLDEN)
def test_ids_are_those_of_the_library(tokenizer, text, ids):
    assert tokenizer.encode(text, add_special_tokens=False).ids == list(map(int, ids.split()))


@given(st.text() | st.text("abein ▁\n語一", max_size=60))
def test_ids_of_any_text_are_those_of_the_library(tokenizer, step1_tokenizer, text):
    library = pytest.importorskip("sentencepiece")
    theirs = library.SentencePieceProcessor(model_file=str(step1_tokenizer / "tokenizer.model"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert ids == theirs.encode(text)
    assert tokenizer.decode(ids, skip_special_tokens=False) == theirs.decode(ids)


def test_names_of_symbols_are_ordinary_text(tokenizer):
    for name in SYMBOLS:
        assert min(tokenizer.encode(f"a {name} b", add_special_tokens=False).ids) >= len(SYMBOLS)


def test_what_is_not_a_byte_pair_model_is_refused(tmp_path):
    unigram = write_model(tmp_path / "tokenizer.model", step1_like(400), kind=BPE - 1)
    with pytest.raises(SetupError, match="not byte pairs"):
        Vocabulary.step1(tmp_path)
    unigram.write_bytes(b"\x0a\xff words")
    with pytest.raises(SetupError, match=r"not a readable tokenizer\.model"):
        Vocabulary.step1(tmp_path)
    for damaged in (b"\x08\x01", b"\x0a\x02\x08\x01", b"\x0a\x03\x0a\x01a\x10\x01"):
        unigram.write_bytes(damaged)
        with pytest.raises(SetupError, match="not a SentencePiece model"):
            Vocabulary.step1(tmp_path)
    write_model(unigram, [])
    with pytest.raises(SetupError, match="no pieces"):
        Vocabulary.step1(tmp_path)


def test_spaces_are_cut_where_the_model_says_so(tmp_path):
    file = write_model(tmp_path / "tokenizer.model", step1_like(600), cuts_spaces=True)
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_document(file.read_bytes())))
    ids = [tokenizer.encode(text).ids for text in ("a b", "  a   b ")]
    assert ids[0] == ids[1]


def test_a_model_without_a_space_before_the_text_keeps_its_first_letter(tmp_path):
    file = write_model(tmp_path / "tokenizer.model", [*step1_like(600), ("zz", -1e6, NORMAL)], prefix=False)
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_document(file.read_bytes())))
    assert tokenizer.encode("zz").ids == [600]
    assert tokenizer.decode(tokenizer.encode(" zz").ids) == " zz"
