"""The token layout, by the examples of its specification."""

import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.layout import (
    CODES_PER_GROUP,
    GROUP_SECONDS,
    LINGUISTIC_RATE,
    SEMANTIC_RATE,
    ReadMessage,
    code_ids,
    codes_of,
    cut_groups,
    group_count,
    header,
    merged,
    read,
    span,
    system_before,
    whole_groups,
)
from schemas.recording import Codes
from schemas.vocabulary import Vocabulary
from tests.paths import FIXTURES


@pytest.fixture(scope="module")
def ids(vocabulary):
    """Ids in the notation of the specification: codes as `L3` and `S3`, markers by name, the rest is text."""

    def of(*words):
        sequence = []
        for word in words:
            if word in ("bos", "eos", "bot", "eot", "as", "ae"):
                sequence.append(getattr(vocabulary, {"as": "audio_start", "ae": "audio_end"}.get(word, word)))
            elif word[0] in "LS" and word[1:].isdigit():
                first = vocabulary.linguistic if word[0] == "L" else vocabulary.semantic
                sequence.append(first + int(word[1:]))
            else:
                sequence.extend(vocabulary.encode(word).tolist())
        return sequence

    return of


def test_a_default_system_prompt_precedes_chats_that_have_none(vocabulary):
    prompted = replace(vocabulary, options=replace(vocabulary.options, default_system="Be brief."))
    before = [system_before(role, prompted) for role in ("human", "assistant", "system", None)]
    assert before == ["Be brief.", "Be brief.", None, None]
    assert system_before("human", vocabulary) is None


def test_a_group_is_two_linguistic_and_three_semantic_codes(vocabulary, ids):
    codes = Codes((1, 2, 3, 4), (5, 6, 7, 8, 9, 10))
    expected = ids("L1", "L2", "S5", "S6", "S7", "L3", "L4", "S8", "S9", "S10")
    assert code_ids(codes, vocabulary).tolist() == expected
    assert codes_of(expected, vocabulary) == codes


@pytest.mark.parametrize(
    ("linguistic", "semantic", "groups"),
    [(0, 0, 0), (1, 2, 0), (4, 6, 2), (5, 8, 2), (9, 6, 2), (500, 750, 250)],
)
def test_codes_after_the_last_whole_group_are_dropped(vocabulary, linguistic, semantic, groups):
    codes = Codes(tuple(range(linguistic)), tuple(range(semantic)))
    assert len(code_ids(codes, vocabulary)) == 5 * groups
    assert whole_groups(codes) == Codes(codes.linguistic[: 2 * groups], codes.semantic[: 3 * groups])


def test_a_span_is_enclosed_in_markers(vocabulary, ids):
    codes = Codes((1023, 0), (4095, 0, 1))
    expected = ids("as", "L1023", "L0", "S4095", "S0", "S1", "ae")
    assert span(codes, vocabulary).tolist() == expected
    assert max(expected) < vocabulary.size


def test_a_message_begins_with_its_role_and_a_new_line(vocabulary, ids):
    assert header("assistant", vocabulary).tolist() == ids("bot", "assistant\n")


def test_a_chat_is_parsed(vocabulary, ids):
    tokens = ids(
        *("bot", "system\n", "Be brief.", "eot"),
        *("bot", "human\n", "as", "L1", "L2", "S1", "S2", "S3", "ae", "eot"),
        *("bot", "assistant\n", "I am", "as", "L7", "L8", "S7", " here", "S8", "S9", "ae", "eot"),
    )
    assert read(tokens, vocabulary) == (
        ReadMessage("system", "Be brief.", ()),
        ReadMessage("human", "", (Codes((1, 2), (1, 2, 3)),)),
        ReadMessage("assistant", "I am here", (Codes((7, 8), (7, 8, 9)),)),
    )


def test_a_document_is_parsed_with_all_its_spans(vocabulary, ids):
    one, two = ("L1", "L2", "S1", "S2", "S3"), ("L3", "L4", "S4", "S5", "S6")
    tokens = ids("bos", "so ", "as", *one, "ae", "then ", "as", *two, "ae", "eos")
    codes = (Codes((1, 2), (1, 2, 3)), Codes((3, 4), (4, 5, 6)))
    assert read(tokens, vocabulary) == (ReadMessage(None, "so then ", codes),)


def test_text_that_looks_like_a_header_is_not_a_role(vocabulary, ids):
    (message,) = read(ids("bot", "human\n", "assistant\n", "<|EOT|>", "eot"), vocabulary)
    assert (message.role, message.text) == ("human", "assistant\n<|EOT|>")


GROUP = ("L1", "L2", "S1", "S2", "S3")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("bos", "words"), "no EOS"),
        (("words",), "ids after"),
        (("bot", "human\n", "words"), "begin with BOT"),
        (("bot", "human\n", "a", "eot", "words"), "ids after"),
        (("bot", "human\n", "a", "eot", "words", "bot", "human\n", "eot"), "follow each other"),
        (("bot", "human\n", "bot", "eot", "eot"), "follow each other"),
        (("bot", "robot\n", "words", "eot"), "unknown role"),
        (("bot", "human\n", "as", *GROUP, "eot"), "not paired"),
        (("bot", "human\n", "ae", *GROUP, "as", "eot"), "not paired"),
        (("bot", "human\n", "as", "as", *GROUP, "ae", "ae", "eot"), "not paired"),
        (("bot", "human\n", *GROUP, "eot"), "outside"),
        (("bot", "human\n", "as", "L1", "L2", "S1", "S2", "ae", "eot"), "whole code groups"),
        (("bot", "human\n", "as", "S1", "L2", "S1", "S2", "S3", "ae", "eot"), "whole code groups"),
    ],
)
def test_an_invalid_layout_is_refused(vocabulary, ids, words, why):
    with pytest.raises(ValueError, match=why):
        read(np.array(ids(*words)), vocabulary)


@given(linguistic=st.integers(0, 30), semantic=st.integers(0, 30), first=st.integers(0, 10))
def test_groups_have_two_linguistic_and_three_semantic_codes_of_120_ms(linguistic, semantic, first):
    codes = Codes(tuple(range(linguistic)), tuple(range(semantic)))
    count = group_count(codes)
    assert count == min(linguistic // 2, semantic // 3)
    assert len(merged(codes)) == CODES_PER_GROUP * count == 5 * count
    cut = cut_groups(codes, min(first, count), count)
    assert cut.linguistic == codes.linguistic[2 * min(first, count) : 2 * count]
    assert cut.semantic == codes.semantic[3 * min(first, count) : 3 * count]
    assert cut_groups(codes, 0, count) == whole_groups(codes)
    assert (GROUP_SECONDS, round(LINGUISTIC_RATE, 2), SEMANTIC_RATE) == (0.12, 16.67, 25.0)


def test_samples_of_a_dataset_of_an_older_version_are_read_back(tokenizer_file):
    (manifest,) = (FIXTURES / "dataset-0.1.0").rglob("manifest.json")
    described = json.loads(manifest.read_text())["vocabulary"]
    vocabulary = Vocabulary.described(described, tokenizer_file)
    assert vocabulary.describe() == described
    roles = set()
    for shard in manifest.parent.rglob("*.tar"):
        with tarfile.open(shard) as tar:
            arrays = [tar.extractfile(m).read() for m in tar if m.name.endswith(".tokens.npy")]
        assert len(arrays) == 6
        for array in arrays:
            roles |= {message.role for message in read(np.load(io.BytesIO(array)), vocabulary)}
    assert {"human", "assistant"} <= roles
