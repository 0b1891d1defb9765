"""The grammar of answers: everything that interleave produces is allowed, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.arrow import Code
from schemas.layout import header, read, read_content
from schemas.recording import Codes
from schemas.sample import Clip, Draft, Message, Speech, Text
from schemas.vocabulary import LayoutOptions, Modality, Vocabulary
from stages.interleave import InterleaveConfig, lay_out
from stages.interleave.streams import interleave
from stages.train.grammar import Form, Grammar
from stages.train.spelling import spelling_of

WORDS = st.text("ab é語🎙\n", min_size=1, max_size=25).filter(str.strip)
RATIOS = st.one_of(st.just((10, 15)), st.tuples(st.integers(1, 7), st.integers(1, 12)))
GROUP_RATIOS = st.tuples(st.integers(1, 10), st.sampled_from([5, 10, 15]))
MODES = st.sampled_from(["interleaved", "text_first", "audio_only", "text_only"])


def speech(groups, at=0):
    codes = Codes(
        tuple(Code((at + n) % 1024) for n in range(2 * groups)),
        tuple(Code((at + n) % 4096) for n in range(3 * groups)),
    )
    return Speech(codes, Clip("r", 0, 0.0, 0.12 * groups), 0, "s", None)


def laid_out(vocabulary, spans, **config):
    """Ids of an answer of (text, groups) spans, its EOT last."""
    parts = [part for text, groups in spans for part in (Text(text), speech(groups))]
    draft = Draft(
        "k", "aqtaa", (Message("human", (Text("?"),)), Message("assistant", tuple(parts), True)), {}
    )
    sample = lay_out(draft, vocabulary, InterleaveConfig(**config))
    return sample.tokens[sample.loss == 1]


def grammar(vocabulary, *form, **settings):
    return Grammar(vocabulary, spelling_of(vocabulary), Form(*form, **settings))


def taken(grammar, ids):
    for id in ids:
        grammar.take(int(id))
    return grammar


@settings(max_examples=40)
@given(st.lists(st.tuples(WORDS, st.integers(1, 9)), min_size=1, max_size=3), MODES, GROUP_RATIOS)
def test_every_answer_of_interleave_is_allowed(vocabulary, spans, mode, ratio):
    ids = laid_out(vocabulary, spans, mode=mode, ratio=ratio)
    assert taken(grammar(vocabulary, mode, ratio), ids).ended


@settings(max_examples=40)
@given(st.lists(st.tuples(WORDS, st.integers(1, 9)), min_size=1, max_size=3), GROUP_RATIOS)
def test_adjacent_voices_and_voices_with_their_own_texts_are_allowed(vocabulary, spans, ratio):
    for concatenation in ("marker_removal", "pre_interleaved"):
        ids = laid_out(vocabulary, spans, ratio=ratio, concatenation=concatenation)
        form = Form("interleaved", ratio, restarts=concatenation == "pre_interleaved")
        assert taken(Grammar(vocabulary, spelling_of(vocabulary), form), ids).ended


def random_answer(grammar, rng, vocabulary, close_at=None):
    """A random answer that the grammar allows; all kinds of ids are equally likely."""
    ids = []
    while not grammar.ended:
        if len(ids) == close_at:
            grammar.close()
        allowed = grammar.allowed()
        kinds = np.where(
            np.isin(allowed, markers(vocabulary)), allowed, -1 - vocabulary.modality(allowed).astype(int)
        )
        id = int(rng.choice(allowed[kinds == rng.choice(np.unique(kinds))]))
        grammar.take(id)
        ids.append(id)
    return np.array(ids, np.int32)


def markers(vocabulary):
    return [vocabulary.audio_start, vocabulary.audio_end, vocabulary.eot]


def read_back(vocabulary, ids):
    (message,) = read(np.concatenate([header("assistant", vocabulary), ids]), vocabulary)
    return message


def streams(vocabulary, ids):
    """Text ids and audio ids of an answer."""
    audio = (vocabulary.modality(ids) != Modality.TEXT) | np.isin(ids, markers(vocabulary)[:2])
    return ids[~audio & (ids != vocabulary.eot)], ids[audio]


@settings(max_examples=40)
@given(st.integers(0, 2**32), MODES, RATIOS)
def test_everything_allowed_is_an_answer_in_its_mode_and_ratio(vocabulary, seed, mode, ratio):
    ids = random_answer(grammar(vocabulary, mode, ratio), np.random.default_rng(seed), vocabulary)
    message = read_back(vocabulary, ids)
    text, audio = streams(vocabulary, ids)
    assert bool(len(text)) == (mode != "audio_only")
    assert bool(message.codes) == (mode != "text_only")
    assert all(len(codes.linguistic) for codes in message.codes)
    if mode == "interleaved":
        runs = [run for _, run in interleave(text, audio, ratio, vocabulary)]
        assert np.concatenate(runs).tolist() == ids[:-1].tolist()
    elif mode == "text_first":
        assert [*text, *audio] == ids[:-1].tolist()


@settings(max_examples=40)
@given(st.integers(0, 2**32), MODES, RATIOS)
def test_no_text_ends_within_a_character(vocabulary, seed, mode, ratio):
    ids = random_answer(grammar(vocabulary, mode, ratio), np.random.default_rng(seed), vocabulary)
    text, _ = streams(vocabulary, ids)
    spelled = b"".join(spelling_of(vocabulary).bytes_of(int(id)) for id in text)
    assert read_back(vocabulary, ids).text == spelled.decode()


@settings(max_examples=40)
@given(st.integers(0, 2**32), MODES, RATIOS, st.integers(0, 40))
def test_a_closed_answer_is_complete_and_ends_soon(vocabulary, seed, mode, ratio, close_at):
    rng = np.random.default_rng(seed)
    ids = random_answer(grammar(vocabulary, mode, ratio), rng, vocabulary, close_at)
    read_back(vocabulary, ids)
    assert len(ids) <= close_at + 12


@settings(max_examples=40)
@given(st.integers(0, 2**32), RATIOS, st.integers(0, 60))
def test_voices_with_their_own_texts_are_complete_too(vocabulary, seed, ratio, close_at):
    form = grammar(vocabulary, "interleaved", ratio, restarts=True)
    read_back(vocabulary, random_answer(form, np.random.default_rng(seed), vocabulary, close_at))


def test_at_the_papers_ratio_three_groups_follow_ten_text_ids(vocabulary):
    so_far = grammar(vocabulary)
    a = int(vocabulary.encode("a")[0])
    assert set(markers(vocabulary)).isdisjoint(so_far.allowed())
    taken(so_far, [a] * 10)
    assert so_far.allowed().tolist() == [vocabulary.audio_start]
    linguistic, semantic = vocabulary.linguistic, vocabulary.semantic
    taken(so_far, [vocabulary.audio_start, *[linguistic, linguistic, semantic, semantic, semantic] * 3])
    assert {a, vocabulary.audio_end, linguistic} < set(so_far.allowed().tolist())
    assert semantic not in so_far.allowed()
    taken(so_far, [a])
    assert vocabulary.audio_end not in so_far.allowed()
    taken(so_far, [linguistic])
    assert set(vocabulary.modality(so_far.allowed()).tolist()) == {Modality.LINGUISTIC}


@settings(max_examples=40)
@given(st.integers(0, 2**32), MODES)
def test_ids_outside_of_answers_are_never_allowed(vocabulary, seed, mode):
    specials = [vocabulary.pad, vocabulary.bos, vocabulary.eos, vocabulary.bot]
    so_far, rng = grammar(vocabulary, mode), np.random.default_rng(seed)
    for _ in range(60):
        if so_far.ended:
            break
        allowed = so_far.allowed()
        assert not np.isin(specials, allowed).any()
        assert allowed.max() < vocabulary.size
        so_far.take(int(rng.choice(allowed)))


@pytest.fixture(scope="module")
def bare(tokenizer_file):
    """A vocabulary without audio markers."""
    return Vocabulary.of("embedded", tokenizer_file, LayoutOptions(audio_markers=False))


@settings(max_examples=40)
@given(st.lists(st.tuples(WORDS, st.integers(1, 9)), min_size=1, max_size=3), MODES, GROUP_RATIOS)
def test_without_markers_every_answer_of_interleave_is_allowed(bare, spans, mode, ratio):
    ids = laid_out(bare, spans, mode=mode, ratio=ratio, concatenation="marker_removal")
    assert taken(grammar(bare, mode, ratio), ids).ended


@settings(max_examples=40)
@given(st.integers(0, 2**32), MODES, GROUP_RATIOS, st.none() | st.integers(0, 40))
def test_without_markers_everything_allowed_is_one_voice_of_whole_groups(bare, seed, mode, ratio, close_at):
    ids = random_answer(grammar(bare, mode, ratio), np.random.default_rng(seed), bare, close_at)
    message = read_content("assistant", ids[:-1], bare)
    assert len(message.codes) <= 1
    text, audio = streams(bare, ids)
    if close_at is None:
        assert bool(len(text)) == (mode != "audio_only")
        assert bool(message.codes) == (mode != "text_only")
        if mode == "interleaved":
            runs = [run for _, run in interleave(text, audio, ratio, bare)]
            assert np.concatenate(runs).tolist() == ids[:-1].tolist()
    else:
        assert len(ids) <= close_at + 12


def test_an_id_that_is_not_allowed_is_refused(vocabulary):
    with pytest.raises(ValueError, match="may not follow"):
        grammar(vocabulary).take(vocabulary.audio_end)
    with pytest.raises(ValueError, match="0:15"):
        Form(ratio=(0, 15))


@settings(max_examples=40)
@given(st.integers(0, 2**32), MODES, RATIOS, st.integers(0, 60))
def test_an_id_breaks_a_rule_unless_it_may_follow(vocabulary, seed, mode, ratio, length):
    rng = np.random.default_rng(seed)
    so_far = grammar(vocabulary, mode, ratio)
    taken(so_far, random_answer(grammar(vocabulary, mode, ratio), rng, vocabulary)[:length])
    if so_far.ended:
        return
    allowed = set(so_far.allowed().tolist())
    ids = [
        *markers(vocabulary),
        vocabulary.linguistic,
        vocabulary.semantic,
        *rng.integers(0, vocabulary.size, 30),
    ]
    for id in map(int, ids):
        assert (so_far.broken_by(id) is None) == (id in allowed)


def test_broken_rules_are_told_apart(vocabulary):
    a, half = int(vocabulary.encode("a")[0]), int(vocabulary.encode("𓀀")[0])
    linguistic, semantic = vocabulary.linguistic, vocabulary.semantic
    so_far = taken(grammar(vocabulary), [a] * 10)
    assert so_far.broken_by(a) == "ratio"
    assert so_far.broken_by(linguistic) == "markers", "a voice begins with a marker"
    assert so_far.broken_by(vocabulary.eot) == "markers"
    taken(so_far, [vocabulary.audio_start, linguistic])
    assert so_far.broken_by(semantic) == "groups"
    assert so_far.broken_by(a) == "ratio"
    assert so_far.broken_by(vocabulary.audio_end) == "markers", "a voice ends after a whole group"
    assert so_far.broken_by(linguistic) is None
    assert grammar(vocabulary).broken_by(vocabulary.pad) == "text"
    assert taken(grammar(vocabulary), [half]).broken_by(a) == "text", "half a character is finished first"
    assert grammar(vocabulary, "text_only").broken_by(linguistic) == "ratio"
