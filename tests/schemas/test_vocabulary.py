"""Text, markers and codes have separate ranges of ids, and text is never encoded as a marker."""

import hashlib
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DataError, SetupError
from schemas.vocabulary import SPECIALS, LayoutOptions, Modality, Vocabulary

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
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    document["added_tokens"] = [{"id": id_, "content": name, **flags} for name, id_ in tokens.items()]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    return path


def test_an_extended_tokenizer_keeps_its_ids_and_gets_the_missing_markers(tokenizer_file, tmp_path):
    path = tokenizer_with(tokenizer_file, tmp_path, {"</s>": 50257, "<|EOT|>": 50300})
    vocabulary = Vocabulary.extended(path)
    assert (vocabulary.eos, vocabulary.eot) == (50257, 50300)
    missing = ["pad", "bos", "bot", "audio_start", "audio_end"]
    assert [getattr(vocabulary, special) for special in missing] == [50301, 50302, 50303, 50304, 50305]
    assert vocabulary.linguistic == 50306
    assert 50300 not in vocabulary.encode("<|EOT|>")


def test_step1_has_the_published_ids(step1_tokenizer):
    vocabulary = Vocabulary.step1(step1_tokenizer)
    assert vocabulary.describe()["specials"] == {
        "pad": 0,
        "bos": 1,
        "eos": 2,
        "bot": 4,
        "eot": 3,
        "audio_start": 70656,
        "audio_end": 70657,
    }
    assert (vocabulary.linguistic, vocabulary.semantic, vocabulary.size) == (65536, 66560, 74752)
    assert (vocabulary.options.chat_bos, vocabulary.options.prefix_newline) == (True, True)


@given(text=texts)
def test_step1_encodes_content_without_a_space_before_it_and_decodes_it_exactly(step1, text):
    ids = step1.encode(text)
    assert step1.decode(ids) == text.replace("▁", " ")
    assert ids.min(initial=5) >= 5
    assert ids.max(initial=0) < 65536


@pytest.fixture(scope="module")
def step1(step1_tokenizer):
    return Vocabulary.step1(step1_tokenizer)


def test_the_config_beside_a_tokenizer_names_it_and_its_markers(step1_tokenizer, tmp_path):
    (tmp_path / "tokenizer.model").symlink_to(step1_tokenizer / "tokenizer.model")
    config = tmp_path / "tokenizer_config.json"
    added = {"65536": "<audio_0>", "74750": "<audio_start>", "74751": "<audio_end>"}
    config.write_text(json.dumps({"added_tokens_decoder": {id: {"content": t} for id, t in added.items()}}))
    vocabulary = Vocabulary.step1(config)
    assert (vocabulary.audio_start, vocabulary.audio_end) == (74750, 74751)
    config.write_text('{"added_tokens_decoder": {"7": {"content": "<audio_0>"}}}')
    with pytest.raises(SetupError, match="<audio_0> is 7, not 65536"):
        Vocabulary.step1(tmp_path)
    config.write_text("[]")
    with pytest.raises(SetupError, match="tokenizer_config"):
        Vocabulary.step1(tmp_path)


def test_step1_refuses_other_tokenizers(tokenizer_file, tmp_path):
    with pytest.raises(SetupError, match="with the ids of markers"):
        Vocabulary.step1(tokenizer_file)
    with pytest.raises(SetupError, match=r"<\|BOT\|> is 60000, not 4"):
        Vocabulary.step1(tokenizer_with(tokenizer_file, tmp_path, {"<|BOT|>": 60000}, first=10))
    with pytest.raises(SetupError, match="above 65536"):
        Vocabulary.step1(tokenizer_with(tokenizer_file, tmp_path, {}, first=20000))


def test_options_are_recorded_and_a_description_opens_the_same_vocabulary(step1_tokenizer, tokenizer_file):
    options = LayoutOptions(
        chat_bos=True, audio_markers=False, prefix_newline=True, default_system="Be brief."
    )
    bare = Vocabulary.of("step1", step1_tokenizer, options)
    described = json.loads(json.dumps(bare.describe()))
    assert described["options"] == {
        "chat_bos": True,
        "audio_markers": False,
        "prefix_newline": True,
        "default_system": "Be brief.",
    }
    assert list(described["specials"]) == ["pad", "bos", "eos", "bot", "eot"]
    assert Vocabulary.described(described, step1_tokenizer) == bare
    with pytest.raises(SetupError, match="another text tokenizer"):
        Vocabulary.described(described, tokenizer_file)


def test_a_description_without_options_is_of_an_older_version_and_opens(tokenizer_file, vocabulary, tmp_path):
    assert "options" not in vocabulary.describe()
    assert Vocabulary.described(vocabulary.describe(), tokenizer_file) == vocabulary
    path = tokenizer_with(tokenizer_file, tmp_path, {}, first=10)
    specials = {
        "pad": 0,
        "bos": 1,
        "eos": 3,
        "bot": 60000,
        "eot": 60001,
        "audio_start": 60002,
        "audio_end": 60003,
    }
    old = {
        "name": "step1",
        "tokenizer_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "specials": specials,
        "linguistic": {"first": 65536, "codes": 1024},
        "semantic": {"first": 66560, "codes": 4096},
        "size": 74752,
    }
    opened = Vocabulary.described(old, path)
    assert (opened.eos, opened.eot, opened.options.chat_bos) == (3, 60001, False)
    assert opened.describe().items() >= old.items()


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
