"""Preference pairs: exact token ids, no equal or empty answers, and the reason for each choice."""

import tarfile
from dataclasses import replace

import numpy as np
import pytest
import webdataset
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.arrow import Code
from schemas.errors import DataError
from schemas.hashing import shuffle_key
from schemas.layout import read
from schemas.recording import Codes
from schemas.sample import Clip, Draft, Message, Speech, Text, turns_in
from stages.interleave import InterleaveConfig, lay_out
from stages.preferences.candidates import read_candidates
from stages.preferences.config import DEAF_PHRASES
from stages.preferences.contrast import KINDS, RealAnswer, contrasts_of
from stages.preferences.pair import pair_of, prompt_group
from stages.shard import ShardConfig, split_of, write_shards

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40) | st.sampled_from(
    ["<|EOT|>", "<audio_5> hm", "<audio_start>", "  x", "是的。", "Good morning."]
)
PROVENANCE = {"source": "ratings", "margin": 2.0}


def codes(groups, seed=0):
    return Codes(
        tuple(Code((7 * n + seed) % 1024) for n in range(2 * groups)),
        tuple(Code((11 * n + seed) % 4096) for n in range(3 * groups)),
    )


def speech(groups, seed=0, recording="calls/one.wav"):
    return Speech(codes(groups, seed), Clip(recording, 0, 0.0, 0.12 * groups), 0, "A", None)


def answer(text, spoken):
    return Message("assistant", (Text(text),) if spoken is None else (Text(text), spoken), spoken is not None)


QUESTION = speech(9)


def sample(vocabulary, text, spoken=None, system=None, question=QUESTION):
    first = (Message("system", (Text(system),)),) if system else ()
    messages = (*first, Message("human", (question,)), answer(text, spoken))
    record = {"speakers": ["A", "B"], "language": "en", "source": {"recording": "calls/one.wav"}}
    return lay_out(Draft("k", "aqtaa", messages, record), vocabulary, InterleaveConfig())


SIDES = st.tuples(WORDS, st.none() | st.tuples(st.integers(1, 9), st.integers(0, 2)))


@given(chosen=SIDES, rejected=SIDES)
def test_both_sides_decode_exactly_and_the_record_names_the_difference(vocabulary, chosen, rejected):
    sides = [(text, groups and speech(*groups)) for text, groups in (chosen, rejected)]
    assume(all(text.strip() or spoken for text, spoken in sides))
    laid = [sample(vocabulary, *side) for side in sides]
    text = sides[0][0] != sides[1][0]
    audio = (sides[0][1] and sides[0][1].codes) != (sides[1][1] and sides[1][1].codes)
    if not text and not audio:
        with pytest.raises(DataError) as error:
            pair_of(*laid, PROVENANCE, vocabulary)
        assert error.value.code == "identical"
        return
    pair = pair_of(*laid, PROVENANCE, vocabulary)
    assert pair.record["differs_in"] == ("both" if text and audio else "text" if text else "audio")
    for ids, (words, spoken) in zip((pair.chosen, pair.rejected), sides, strict=True):
        whole = np.concatenate([pair.prompt, ids])
        question, decoded = read(whole, vocabulary)
        assert (question.role, question.codes) == ("human", (codes(9),))
        assert (decoded.role, decoded.text) == ("assistant", words)
        assert decoded.codes == ((spoken.codes,) if spoken else ())
        assert ids[-1] == vocabulary.eot
        assert whole.max() < vocabulary.size
    assert pair.prompt[0] == vocabulary.bot
    assert (len(pair.key), turns_in(pair.key)) == (16 + 9 + 16, ())


def test_empty_sides_and_different_prompts_are_rejected(vocabulary):
    good = sample(vocabulary, "Yes.", speech(4))
    for empty in ("", " \n"):
        for sides in ((good, sample(vocabulary, empty)), (sample(vocabulary, empty), good)):
            with pytest.raises(DataError) as error:
                pair_of(*sides, PROVENANCE, vocabulary)
            assert error.value.code == "empty_side"
    with pytest.raises(ValueError, match="different prompts"):
        pair_of(good, sample(vocabulary, "No.", question=speech(8)), PROVENANCE, vocabulary)


def test_a_pair_is_stored_as_three_arrays_and_a_record(vocabulary, tmp_path):
    sides = [("Yes, at six.", speech(7)), ("Sorry?", None)]
    pairs = [
        pair_of(*(sample(vocabulary, *s, question=speech(n)) for s in sides), PROVENANCE, vocabulary)
        for n in range(1, 6)
    ]
    pairs.sort(key=lambda pair: shuffle_key(pair.key))
    (shard,) = write_shards(pairs, tmp_path, "train", 0, ShardConfig(keep_audio=True), lambda _: b"")
    with tarfile.open(shard.path) as tar:
        assert {name.partition(".")[2] for name in tar.getnames()} == {
            "json",
            "prompt.npy",
            "chosen.npy",
            "rejected.npy",
        }
    read_back = list(webdataset.WebDataset(str(shard.path), shardshuffle=False).decode())
    assert len(read_back) == shard.samples == 5
    for pair, found in zip(pairs, read_back, strict=True):
        assert found["__key__"] == pair.key
        for side in ("prompt", "chosen", "rejected"):
            assert np.array_equal(found[f"{side}.npy"], getattr(pair, side))
            assert found[f"{side}.npy"].dtype == np.int32
        record = found["json"]
        assert (record["family"], record["differs_in"], record["preference"]) == (
            "preference",
            "both",
            PROVENANCE,
        )
        assert [message["role"] for message in record["messages"]] == ["human"]
        first, end = record["rejected"]["content"][0]["spans"][0]
        assert vocabulary.decode(np.concatenate([pair.prompt, pair.rejected])[first:end]) == "Sorry?"


def test_the_split_depends_on_the_prompt_but_not_on_answers_or_system_message(vocabulary):
    def group(system, text, n=9):
        sides = (sample(vocabulary, answer, None, system, speech(n)) for answer in (text, "Hm?"))
        return prompt_group(pair_of(*sides, PROVENANCE, vocabulary), vocabulary)

    assert group("Be brief.", "Yes.") == group("Be a pirate.", "Aye.") == group(None, "No.")
    groups = {group(None, "Yes.", n) for n in range(1, 40)}
    assert len(groups) == 39
    assert {split_of(one, 0.3, 0) for one in groups} == {"train", "validation"}


# Candidates


def test_candidates_have_codes_or_the_name_of_a_recording():
    row = {
        "id": 7,
        "messages": [{"role": "user", "content": "When?"}],
        "audio": "q/7.wav",
        "answers": [
            {"id": "b", "text": " At six. ", "codes": {"linguistic": [1, 2, 3], "semantic": [4, 5, 6, 7]}},
            {"id": "a", "text": "At five.", "audio": "a/7.wav"},
        ],
    }
    found = read_candidates(row, "c.jsonl:1", lambda name: codes(3, seed=len(name)))
    assert (found.id, found.audio, found.codes) == ("7", "q/7.wav", codes(3, seed=7))
    first, second = found.candidates
    assert (first.id, first.text, first.audio, first.codes) == ("a", "At five.", "a/7.wav", codes(3, seed=7))
    assert (second.text, second.audio) == ("At six.", None)
    assert second.codes == Codes((1, 2), (4, 5, 6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "no `id`"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "human's"),
        ({"answers": [{"id": "a", "text": "x"}]}, "two or more"),
        ({"answers": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}, "one id"),
        ({"answers": [{"id": "a", "text": "x"}, {"id": "b", "text": " "}]}, "no `text`"),
        ({"answers": [{"id": "a", "text": "x"}, "y"]}, "no object"),
        ({"codes": {"linguistic": [1, 5000], "semantic": [1, 2, 3]}}, "linguistic"),
        ({"codes": {"linguistic": [1, 2], "semantic": [1, True, 3]}}, "semantic"),
        ({"codes": {"linguistic": [1], "semantic": [1, 2, 3]}}, "less than a group"),
        ({"codes": [1, 2]}, "linguistic"),
        ({"audio": 7}, "name of a recording"),
    ],
)
def test_an_invalid_row_of_candidates_is_rejected_with_its_reason(change, message):
    row = {
        "id": "p",
        "messages": [{"role": "user", "content": "When?"}],
        "answers": [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}],
    }
    with pytest.raises(DataError, match=message) as error:
        read_candidates(row | change, "c.jsonl:1", lambda name: codes(3))
    assert error.value.code == "bad_candidates"


# Contrasts

LINES = {"en": "We leave at number {n} in the morning sharp", "de": "Wir fahren am Morgen um {n} Uhr los"}


def real_answers(count=60):
    return [
        RealAnswer(
            key=f"{n:016x}",
            conversation=f"talk{n // 2}",
            language=language,
            text=LINES[language].format(n=n),
            speech=speech(10 + n, seed=n),
        )
        for n in range(count)
        for language in (("en", "de")[n % 2],)
    ]


def test_every_kind_of_contrast_has_its_defining_property():
    answers = {one.key: one for one in real_answers()}
    found = list(contrasts_of(list(answers.values()), dict.fromkeys(KINDS, 1.0), DEAF_PHRASES))
    assert len(found) == len(KINDS) * len(answers)
    for own, kind, contrast in found:
        assert contrast.provenance["source"] == "contrast"
        assert contrast.provenance["kind"] == kind
        other = answers.get(contrast.provenance.get("from"))
        if other:
            assert other.conversation != own.conversation
        if kind == "deaf":
            assert contrast.text in DEAF_PHRASES[own.language]
            assert contrast.speech is None
        elif kind in ("other", "language"):
            assert (contrast.text, contrast.speech) == (other.text, other.speech)
            assert (other.language == own.language) == (kind == "other")
        elif kind == "mismatch":
            combinations = {(own.text, other.speech), (other.text, own.speech)}
            assert (contrast.text, contrast.speech) in combinations
            assert other.language == own.language
        else:
            assert own.text.startswith(contrast.text)
            assert len(contrast.text) < len(own.text)
            n = len(contrast.speech.codes.linguistic)
            assert contrast.speech.codes.linguistic == own.speech.codes.linguistic[:n]
            assert 0.1 < n / len(own.speech.codes.linguistic) <= 0.6
    taken = {contrast.provenance["taken"] for _, kind, contrast in found if kind == "mismatch"}
    assert taken == {"text", "speech"}


def test_shares_are_met_and_do_not_depend_on_order():
    answers = real_answers(400)
    shares = {"deaf": 0.5, "truncated": 0.1}
    first, second = (list(contrasts_of(order, shares, DEAF_PHRASES)) for order in (answers, answers[::-1]))
    kinds = [kind for _, kind, _ in first]
    assert 160 < kinds.count("deaf") < 240
    assert 20 < kinds.count("truncated") < 65
    assert {(a.key, k, m.text) for a, k, m in first} == {(a.key, k, m.text) for a, k, m in second}


def test_adding_answers_changes_few_draws():
    answers = real_answers(200)
    before, after = (
        {a.key: m.provenance["from"] for a, _, m in contrasts_of(some, {"other": 1.0}, DEAF_PHRASES)}
        for some in (answers[:-2], answers)
    )
    assert sum(after[key] != before[key] for key in before) < 10


def test_no_contrast_without_a_suitable_answer():
    (one, *_) = real_answers(1)
    found = {kind: contrast for _, kind, contrast in contrasts_of([one], dict.fromkeys(KINDS, 1.0), {})}
    assert {kind for kind, contrast in found.items() if isinstance(contrast, DataError)} == set(KINDS) - {
        "truncated"
    }
    short = replace(one, text="Hm", speech=speech(1))
    ((_, _, contrast),) = contrasts_of([short], {"truncated": 1.0}, {})
    assert isinstance(contrast, DataError)


@given(WORDS, st.integers(1, 30), st.sampled_from(KINDS))
def test_every_contrast_makes_a_pair_or_is_rejected_as_identical(vocabulary, text, groups, kind):
    assume(text.strip())
    own = RealAnswer("00", "here", "en", text, speech(groups))
    pool = [
        own,
        RealAnswer("01", "there", "en", "Fine.", speech(3, 1)),
        RealAnswer("02", "away", "de", "Gut.", None),
    ]
    for real_answer, _, contrast in contrasts_of(pool, {kind: 1.0}, DEAF_PHRASES):
        if real_answer is not own or isinstance(contrast, DataError):
            continue
        chosen, rejected = (sample(vocabulary, s.text, s.speech) for s in (own, contrast))
        if contrast.text == own.text and contrast.speech == own.speech:
            with pytest.raises(DataError, match="the same"):
                pair_of(chosen, rejected, contrast.provenance, vocabulary)
            continue
        pair = pair_of(chosen, rejected, contrast.provenance, vocabulary)
        _, decoded = read(np.concatenate([pair.prompt, pair.rejected]), vocabulary)
        assert decoded.text == contrast.text
