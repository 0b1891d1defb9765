import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SetupError
from schemas.vocabulary import Vocabulary
from stages.train.spelling import rest_of, spelling_of


@given(st.text(max_size=40))
def test_every_text_can_be_spelled(vocabulary, text):
    spelling, half = spelling_of(vocabulary), b""
    for id in vocabulary.encode(text).tolist():
        assert id in spelling.after(half)
        half = spelling.rest(half, id)
    assert half == b""


def test_within_a_character_only_its_bytes_may_follow(vocabulary):
    spelling = spelling_of(vocabulary)
    half = "語".encode()[:1]
    for id in spelling.after(half).tolist():
        assert rest_of(half + spelling.bytes_of(id)) is not None
    assert vocabulary.encode("a")[0] not in spelling.after(half)
    assert len(spelling.completing(half))
    assert all(len(spelling.bytes_of(int(id))) <= 2 for id in spelling.completing(half))


@pytest.mark.parametrize(
    ("written", "half"), [(b"a\xc3", b"\xc3"), (b"\xf0\x9f\x8e", b"\xf0\x9f\x8e"), (b"a", b"")]
)
def test_the_rest_is_the_unfinished_character(written, half):
    assert rest_of(written) == half


def test_an_unfinished_character_can_always_be_finished(vocabulary):
    spelling, halves = spelling_of(vocabulary), {b""}
    for id in spelling.after(b"").tolist():
        halves.add(spelling.rest(b"", id))
    for half in halves - {b""}:
        while half:
            half = spelling.rest(half, int(spelling.completing(half)[-1]))


@pytest.mark.parametrize("wrong", [b"\xff", b"\xc3a", b"\xed\xa0\x80", b"\xed\xa0", b"\x80", b"\xc0\x80"])
def test_invalid_utf8_is_detected(wrong):
    assert rest_of(wrong) is None


def sentence_pieces(folder, unknown="▁"):
    """A tokenizer like sentencepiece's: a letter for the space, and byte fallback."""
    letters = {
        "<unk>": 0,
        **{f"<0x{byte:02X}>": 1 + byte for byte in range(256)},
        "▁": 257,
        "a": 258,
        "▁a": 259,
    }
    document = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
            "vocab": letters, "merges": ["▁ a"],
        },
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(document))
    return folder


def test_a_tokenizer_with_byte_fallback_is_spelled_by_bytes(tmp_path):
    vocabulary = Vocabulary.extended(sentence_pieces(tmp_path))
    spelling, half = spelling_of(vocabulary), b""
    ids = vocabulary.encode(" a a語").tolist()
    for id in ids:
        assert id in spelling.after(half)
        half = spelling.rest(half, id)
    assert half == b""
    assert 0 not in spelling.after(b"")
    with pytest.raises(ValueError, match="don't continue"):
        spelling.rest(b"\xe8", vocabulary.encode("a")[0])


def test_a_vocabulary_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(SetupError, match=r"tokenizer\.json"):
        Vocabulary.extended(tmp_path)
