"""Answers sampled from models and streamed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import SetupError
from schemas.layout import header, read
from schemas.recording import Codes
from stages.train.cache import Step1Reader
from stages.train.grammar import Form
from stages.train.model import Step1
from stages.train.sampling import Answer, CodeGroup, Sampling, TextPiece, answer, answered
from stages.train.shape import PRESETS, Shape

LITTLE = Shape(hidden=48, ffn=80, heads=6, groups=2, layers=2, vocabulary=97, context=64)


@pytest.fixture(scope="module")
def model(vocabulary):
    torch.set_num_threads(1)
    model = Step1(PRESETS["tiny"].with_vocabulary(vocabulary.size))
    model.initialise(seed=1)
    return model


@pytest.fixture(scope="module")
def prompt(vocabulary):
    question = [*header("human", vocabulary), *vocabulary.encode("Who is there?"), vocabulary.eot]
    return np.concatenate([question, header("assistant", vocabulary)])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_cached_reading_gives_the_logits_of_the_whole_sequence(pieces):
    model = Step1(LITTLE)
    model.initialise(seed=2)
    reader = Step1Reader(model)
    tokens = torch.randint(0, 97, (sum(pieces),), generator=torch.Generator().manual_seed(0))
    for end, size in zip(np.cumsum(pieces).tolist(), pieces, strict=True):
        logits = reader.read(tokens[end - size : end].tolist())
        with torch.no_grad():
            assert torch.allclose(logits, model(tokens[None, :end])[0, -1], atol=1e-5)


def test_a_long_prompt_is_read_in_pieces():
    model = Step1(LITTLE)
    model.initialise(seed=2)
    tokens = torch.randint(0, 97, (1300,), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(Step1Reader(model).read(tokens.tolist()), model(tokens[None])[0, -1], atol=1e-5)


def test_a_copy_continues_independently(model, prompt):
    one = Step1Reader(model)
    one.read(prompt.tolist())
    other = one.copy()
    apart = Step1Reader(model)
    apart.read(prompt.tolist())
    one.read([5, 6])
    assert torch.equal(other.read([7]), apart.read([7]))


def test_a_seed_repeats_an_answer_and_another_seed_changes_it(model, prompt, vocabulary):
    ids = [sampled(model, prompt, vocabulary, seed=seed).ids.tolist() for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_at_temperature_0_the_seed_is_irrelevant(model, prompt, vocabulary):
    one, other = (sampled(model, prompt, vocabulary, temperature=0, seed=seed) for seed in (1, 2))
    assert one.ids.tolist() == other.ids.tolist()


def sampled(model, prompt, vocabulary, form=Form(), max_tokens=80, **how):  # noqa: B008
    sampling = Sampling(max_tokens=max_tokens, **how)
    return answered(answer(Step1Reader(model), prompt, vocabulary, form, sampling))


class Drawn:
    """Random logits of a seed, as an arbitrary model."""

    def __init__(self, vocabulary, seed, spread, favoured):
        self._generator = torch.Generator().manual_seed(seed)
        self._size, self._spread = vocabulary.size + 8, spread
        markers = [vocabulary.audio_end, vocabulary.audio_start, vocabulary.eot]
        words, loops = [int(vocabulary.encode("語")[0])], [64, vocabulary.linguistic]
        self._favoured = {"none": [], "markers": markers, "words": words, "loops": loops}[favoured]

    def read(self, ids):
        logits = self._spread * torch.randn(self._size, generator=self._generator)
        logits[self._favoured] += 3 * self._spread
        logits[torch.randint(self._size, (50,), generator=self._generator)] = -torch.inf
        return logits


@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["interleaved", "text_first", "audio_only", "text_only"]),
    st.sampled_from([(10, 15), (3, 5), (6, 50), (2, 7)]),
    st.sampled_from([0.0, 0.1, 5.0]),
    st.sampled_from(["none", "markers", "words", "loops"]),
    st.sampled_from([0.0, 0.5, 2.0]),
    st.sampled_from([0.01, 0.9, 1.0]),
    st.integers(1, 90),
)
def test_answers_from_any_logits_can_be_parsed(
    vocabulary, seed, mode, ratio, spread, favoured, temperature, top_p, most
):
    reader = Drawn(vocabulary, seed, spread, favoured)
    sampling = Sampling(temperature, top_p, seed, most)
    events = list(answer(reader, np.array([1]), vocabulary, Form(mode, ratio), sampling))
    *pieces, whole = events
    assert isinstance(whole, Answer)
    assert len(whole.ids) <= most
    (message,) = read(np.concatenate([header("assistant", vocabulary), whole.ids]), vocabulary)
    assert (message.text, message.codes) == (whole.text, whole.voices)
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextPiece)) == whole.text
    groups = [piece for piece in pieces if isinstance(piece, CodeGroup)]
    for voice, codes in enumerate(whole.voices):
        own = [group.codes for group in groups if group.voice == voice]
        assert tuple(code for group in own for code in group.linguistic) == codes.linguistic
        assert tuple(code for group in own for code in group.semantic) == codes.semantic
    whole.text.encode()


def test_nucleus_sampling_draws_from_the_likeliest_ids_up_to_top_p(vocabulary):
    a, b, c = (int(vocabulary.encode(letter)[0]) for letter in "abc")
    logits = torch.full((vocabulary.size,), -torch.inf)
    logits[[a, b, c]] = torch.tensor([0.6, 0.3, 0.1]).log()
    counts = {}
    for top_p in (0.5, 0.85, 1.0):
        for seed in range(150):
            events = answer(
                Fixed(logits), np.array([1]), vocabulary, Form("text_only"), Sampling(1, top_p, seed, 2)
            )
            first = int(answered(events).ids[0])
            counts.setdefault(top_p, {}).setdefault(first, 0)
            counts[top_p][first] += 1
    assert counts[0.5] == {a: 150}
    assert counts[0.85].keys() == {a, b}
    assert counts[0.85][a] / 150 == pytest.approx(2 / 3, abs=0.12)
    assert counts[1.0][c] / 150 == pytest.approx(0.1, abs=0.07)


class Fixed:
    """Always the same logits."""

    def __init__(self, logits):
        self.logits = logits

    def read(self, ids):
        return self.logits


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("text_only", "text_loop"), ("audio_only", "audio_loop"), ("interleaved", "text_loop")],
)
def test_a_repetition_loop_is_ended_with_its_reason(vocabulary, mode, reason):
    logits = torch.zeros(vocabulary.size)
    logits[[64, vocabulary.linguistic + 3, vocabulary.semantic + 4]] = 9.0
    events = answer(Fixed(logits), np.array([1]), vocabulary, Form(mode), Sampling(0))
    whole = answered(events)
    assert whole.reason == reason
    assert len(whole.ids) < 260


def test_by_the_repetition_rule_an_id_of_two_of_the_last_ten_does_not_follow_itself(vocabulary):
    a, b = (int(vocabulary.encode(letter)[0]) for letter in "ab")
    logits = torch.zeros(vocabulary.size)
    logits[[a, b]] = torch.tensor([9.0, 8.0])
    sampling = Sampling(0, max_tokens=12, repetition_rule=True)
    before = np.array([1, 2, 3, 4, 5, 6, 7, 8])
    ids = answered(answer(Fixed(logits), before, vocabulary, Form("text_only"), sampling)).ids
    # The rule needs ten ids; from then on `a` gives way once it is two of the last ten.
    assert ids[:6].tolist() == [a, a, b, a, b, a]
    ids = answered(
        answer(Fixed(logits), before, vocabulary, Form("text_only"), Sampling(0, max_tokens=7))
    ).ids
    assert ids[:6].tolist() == [a] * 6


def test_a_pause_and_a_laugh_are_no_loops(vocabulary):
    from stages.train.sampling import AUDIO_LOOP, TEXT_LOOP, _Loop

    laugh, pause = _Loop(*TEXT_LOOP), _Loop(*AUDIO_LOOP)
    assert not any(laugh.take(id) for id in [5, 6] * 6)
    assert not any(pause.take(id) for id in [1, 2, 3, 4, 5] * 25)
    assert any(pause.take(id) for id in list(range(60)) * 5)


def test_max_tokens_end_an_answer_with_its_reason(model, prompt, vocabulary):
    result = sampled(model, prompt, vocabulary, max_tokens=33, temperature=1.0, top_p=1.0)
    assert result.reason == "length"
    assert 33 - 10 <= len(result.ids) <= 33  # 10: the rest of a character and of a group, and two markers
    for limit in range(1, 12):
        assert len(sampled(model, prompt, vocabulary, max_tokens=limit).ids) <= limit
        few = sampled(model, prompt, vocabulary, Form("text_only"), max_tokens=limit, temperature=0)
        assert limit - 3 <= len(few.ids) <= limit


def test_logits_that_are_nan_are_refused(vocabulary):
    broken = Fixed(torch.full((vocabulary.size,), torch.nan))
    with pytest.raises(SetupError, match="logits are NaN"):
        answered(answer(broken, np.array([1]), vocabulary, Form(), Sampling()))


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"max_tokens": 0}])
def test_invalid_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="temperature is at least 0"):
        Sampling(**wrong)


def test_codes_are_streamed_by_group_with_their_voice(vocabulary):
    logits = torch.zeros(vocabulary.size)
    script = [64] * 10 + [vocabulary.audio_start]
    group = [
        vocabulary.linguistic + 1,
        vocabulary.linguistic + 2,
        *(vocabulary.semantic + n for n in (3, 4, 5)),
    ]
    script += [
        *group,
        vocabulary.audio_end,
        vocabulary.audio_start,
        *group,
        vocabulary.audio_end,
        vocabulary.eot,
    ]

    class Scripted:
        def __init__(self):
            self.at = -1

        def read(self, ids):
            self.at += 1
            changed = logits.clone()
            changed[script[self.at]] = 9
            return changed

    events = list(answer(Scripted(), np.array([1]), vocabulary, Form(), Sampling(0)))
    codes = Codes((1, 2), (3, 4, 5))
    assert events[:10] == [TextPiece("a")] * 10
    assert events[10:12] == [CodeGroup(codes, 0), CodeGroup(codes, 1)]
    assert events[12].voices == (codes, codes)
    assert events[12].reason == "end"


def test_an_answer_tells_how_often_the_likeliest_of_all_ids_obeys(vocabulary):
    """Always the same logits: a letter is likeliest, and after ten letters a code should come."""
    a = int(vocabulary.encode("a")[0])
    logits = torch.zeros(vocabulary.size)
    logits[a] = 9.0
    sampling = Sampling(0, max_tokens=20)
    obedience = answered(answer(Fixed(logits), np.array([1]), vocabulary, Form(), sampling)).obedience
    assert (obedience.steps, dict(obedience.broken)) == (16, {"ratio": 6})  # a second group has no room
    in_text = answered(
        answer(Fixed(logits), np.array([1]), vocabulary, Form("text_only"), sampling)
    ).obedience
    assert (in_text.steps, dict(in_text.broken)) == (19, {})
