"""Text, markers and codes have separate ranges of ids, and text is never encoded as a marker."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DataError, SetupError
from schemas.vocabulary import SPECIALS, Modality, Vocabulary

LITERALS = [
    "<|EOT|>",
    "<|BOT|>",
    "<audio_5>",
    "<audio_start>",
    "<s>",
    "</s>",
    "<|endoftext|>",
    "<|0.00|>",
    "<|zh|>",
]

texts = st.text() | st.lists(st.sampled_from(LITERALS) | st.text(max_size=5)).map("".join)


def test_the_embedded_vocabulary_is_text_then_markers_then_both_codebooks(vocabulary):
    assert vocabulary.describe()["specials"] == {
        "pad": 50257,
        "bos": 50258,
        "eos": 50259,
        "bot": 50260,
        "eot": 50261,
        "audio_start": 50262,
        "audio_end": 50263,
    }
    assert (vocabulary.linguistic, vocabulary.semantic, vocabulary.size) == (50264, 51288, 55384)


@given(text=texts)
def test_any_text_is_encoded_in_text_ids_and_decoded_exactly(vocabulary, text):
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int32
    assert vocabulary.decode(ids) == text
    assert (ids < vocabulary.pad).all()


@pytest.mark.parametrize("literal", LITERALS)
def test_the_name_of_a_marker_in_text_is_encoded_as_text(vocabulary, literal):
    ids = vocabulary.encode(f"he said {literal} twice")
    assert len(ids) > 5
    assert (vocabulary.modality(ids) == Modality.TEXT).all()
    assert not set(ids.tolist()) & {getattr(vocabulary, special) for special in SPECIALS}


def test_modality_is_given_by_the_id_and_markers_are_text(vocabulary):
    ids = [0, 50256, 50257, 50261, 50263, 50264, 51287, 51288, 55383]
    assert vocabulary.modality(ids).tolist() == [0, 0, 0, 0, 0, 1, 1, 2, 2]


def test_an_unpaired_surrogate_is_bad_data(vocabulary):
    with pytest.raises(DataError, match="unpaired surrogate"):
        vocabulary.encode("a\ud800b")


def test_the_description_is_json_and_contains_no_path(vocabulary, tokenizer_file):
    described = vocabulary.describe()
    assert json.loads(json.dumps(described)) == described
    assert str(tokenizer_file.parent) not in json.dumps(described)
    assert Vocabulary.embedded(tokenizer_file.parent).describe() == described
    assert Vocabulary.extended(tokenizer_file).describe()["sha256"] != described["sha256"]


def test_a_vocabulary_can_be_pickled_without_its_file(vocabulary):
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary
    assert pickle.loads(pickle.dumps(vocabulary)).decode(vocabulary.encode("语音")) == "语音"


def tokenizer_with(tokenizer_file, tmp_path, tokens, first=0):
    """The packaged tokenizer with other added tokens, and text ids from `first` on."""
    document = json.loads(tokenizer_file.read_text())
    document["model"]["vocab"] = {token: first + n for token, n in document["model"]["vocab"].items()}
    made = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    document["added_tokens"] = [{"id": id_, "content": name, **made} for name, id_ in tokens.items()]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    return path


def test_an_extended_tokenizer_keeps_its_ids_and_gets_the_missing_markers(tokenizer_file, tmp_path):
    path = tokenizer_with(tokenizer_file, tmp_path, {"</s>": 50257, "<|EOT|>": 50300})
    vocabulary = Vocabulary.extended(path)
    assert (vocabulary.eos, vocabulary.eot) == (50257, 50300)
    lacking = ["pad", "bos", "bot", "audio_start", "audio_end"]
    assert [getattr(vocabulary, special) for special in lacking] == [50301, 50302, 50303, 50304, 50305]
    assert vocabulary.linguistic == 50306
    assert 50300 not in vocabulary.encode("<|EOT|>")


def test_step1_has_the_published_ids(tokenizer_file, tmp_path):
    markers = {"<|BOT|>": 60000, "<|EOT|>": 60001, "<audio_start>": 60002, "<audio_end>": 60003}
    tokens = {**markers, "<audio_0>": 65536}
    vocabulary = Vocabulary.step1(tokenizer_with(tokenizer_file, tmp_path, tokens, first=10))
    assert (vocabulary.pad, vocabulary.bos, vocabulary.eos) == (0, 1, 3)
    assert (vocabulary.linguistic, vocabulary.semantic, vocabulary.size) == (65536, 66560, 74752)
    assert (vocabulary.bot, vocabulary.eot) == (60000, 60001)
    assert (vocabulary.audio_start, vocabulary.audio_end) == (60002, 60003)
    assert vocabulary.encode("<audio_0> <|EOT|>").max() < 60000


def test_markers_with_ids_of_text_are_refused(tokenizer_file, tmp_path):
    markers = {"<|BOT|>": 60000, "<|EOT|>": 60001, "<audio_start>": 60002, "<audio_end>": 60003}
    with pytest.raises(SetupError, match="with the ids of markers"):
        Vocabulary.step1(tokenizer_with(tokenizer_file, tmp_path, markers, first=0))


def test_step1_refuses_a_tokenizer_without_its_markers(tokenizer_file, tmp_path):
    with pytest.raises(SetupError, match=r"no token <\|BOT\|>"):
        Vocabulary.step1(tokenizer_file)
    moved = {**dict.fromkeys(SPECIALS.values(), 60000), "<audio_0>": 7}
    with pytest.raises(SetupError, match="65536"):
        Vocabulary.step1(tokenizer_with(tokenizer_file, tmp_path, moved))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"model": {"vocab": {}}}', '{"model": {"vocab": {"a": 0}}}']
)
def test_an_invalid_tokenizer_file_is_a_setup_error(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(SetupError, match=r"tokenizer\.json"):
        Vocabulary.embedded(path)


def test_a_tokenizer_that_does_not_reproduce_every_text_is_refused(tmp_path):
    words = {"type": "WordLevel", "vocab": {"[UNK]": 0, "words": 1}, "unk_token": "[UNK]"}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": words}))
    with pytest.raises(SetupError, match="doesn't reproduce every text"):
        Vocabulary.embedded(path)


def test_a_vocabulary_is_constructed_by_name(tokenizer_file, vocabulary):
    assert Vocabulary.of("embedded", tokenizer_file) == vocabulary
    assert Vocabulary.of("extended", tokenizer_file.parent) == Vocabulary.extended(tokenizer_file)
