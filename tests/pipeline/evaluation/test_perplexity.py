"""What small models can foretell of each codebook, alone and beside the other."""

import json
import math

import numpy as np
import pytest

from pipeline.evaluation.continuations import sample_continuation
from pipeline.evaluation.perplexity import (
    BOS,
    EOS,
    FIRST,
    VOCABULARY,
    CodedUtterance,
    compare,
    documents_of,
    held_out,
    losses_of,
    unigram,
)
from pipeline.evaluation.shard_turns import shard_turns
from schemas.errors import SetupError
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, Modality


def coded(source: str, groups: int, seed: int) -> CodedUtterance:
    """Linguistic codes that nobody can foretell; the semantic ones of a group all follow from the last."""
    linguistic = np.random.default_rng(seed).integers(0, 16, (groups, 2))
    last = linguistic[:, 1:] + LINGUISTIC_CODES
    codes = np.concatenate([linguistic, last + 100, last + 200, last + 300], axis=1)
    return CodedUtterance(source, codes.ravel().astype(np.int32))


@pytest.fixture(scope="module")
def utterances() -> list[CodedUtterance]:
    return [coded(f"source-{n % 20}", 30, n) for n in range(60)]


@pytest.fixture(scope="module")
def learnt(utterances):
    return compare(utterances, steps=12, seed=0)


@pytest.mark.slow
def test_a_codebook_that_follows_from_the_other_is_foretold_beside_it(utterances):
    """Alone, the first semantic code of each group is anybody's guess of sixteen."""
    found = compare(utterances, steps=200, seed=0).comparison
    alone, beside = (part["semantic"].nats_per_token.value for part in (found.alone, found.beside))
    assert alone > math.log(16) / 3
    assert beside < 0.5 * alone
    for part in (found.alone, found.beside):
        assert part["linguistic"].nats_per_token.value > math.log(16) - 0.05


def test_what_is_learnt_is_foretold_better_than_by_chance(learnt):
    found = learnt.comparison
    for kind, codes in (("linguistic", LINGUISTIC_CODES), ("semantic", SEMANTIC_CODES)):
        assert max(part[kind].nats_per_token.value for part in (found.alone, found.beside)) < math.log(codes)


def test_rates_and_parts_add_up(learnt):
    found = learnt.comparison
    for kind, rate in (("linguistic", 2 / 0.12), ("semantic", 3 / 0.12), ("both", 5 / 0.12)):
        alone = found.alone[kind]
        assert alone.nats_per_second.value == pytest.approx(rate * alone.nats_per_token.value)
        assert alone.nats_per_token.low <= alone.nats_per_token.value <= alone.nats_per_token.high
        assert alone.nats_per_token.utterances == found.sources["held"], "whole sources are drawn again"
    parts = sum(found.beside[kind].nats_per_second.value for kind in ("linguistic", "semantic"))
    assert parts == pytest.approx(found.alone["both"].nats_per_second.value)
    assert found.seconds["learnt"] + found.seconds["held"] == pytest.approx(60 * 30 * 0.12)
    told = json.loads(json.dumps(found.as_json()))
    assert told["alone"]["both"]["perplexity"] == pytest.approx(
        math.exp(told["alone"]["both"]["nats_per_token"]["value"])
    )


def test_all_three_get_the_same_compute(learnt):
    """As many tokens of a step: the model of fewer tokens a second sees the same speech more often."""
    epochs = learnt.comparison.epochs
    assert epochs["linguistic"] > epochs["semantic"] > epochs["both"] > 0


def test_whole_sources_are_held_out(utterances):
    learnt, held = held_out(utterances, 0)
    assert {one.source for one in learnt}.isdisjoint(one.source for one in held)
    assert len(learnt) + len(held) == len(utterances)
    share = sum(one.seconds for one in held) / sum(one.seconds for one in utterances)
    assert 0.2 <= share < 0.3
    assert held_out(utterances[::-1], 0)[1] == held[::-1]
    assert {one.source for one in held_out(utterances, 1)[1]} != {one.source for one in held}


def test_codes_of_a_kind_stand_between_beginning_and_end():
    one = CodedUtterance("a", np.array([1, 2, 1034, 1044, 1054, 3, 4, 1064, 1074, 1084], np.int32))
    assert one.of("linguistic").tolist() == [BOS, *(FIRST + n for n in (1, 2, 3, 4)), EOS]
    assert one.of("semantic").tolist()[1:-1] == [FIRST + n for n in (1034, 1044, 1054, 1064, 1074, 1084)]
    assert one.of("both").tolist()[1:-1] == (one.tokens + FIRST).tolist()
    assert one.seconds == pytest.approx(0.24)


def test_documents_in_memory_are_read_as_those_of_shards():
    documents = documents_of([np.array([1, 5, 9, 2], np.int32), np.array([1, 7, 2], np.int32)])
    assert documents.lengths.tolist() == [4, 3]
    [document] = documents.read(1)
    assert document.tokens.tolist() == [1, 7, 2]
    assert document.loss.tolist() == [0, 1, 1]


def test_losses_are_those_of_every_code_and_of_nothing_else(learnt):
    [told] = losses_of(learnt.model, learnt.held[:1], "both")
    groups = len(learnt.held[0].tokens) // 5
    assert len(told.losses[Modality.LINGUISTIC]) == 2 * groups
    assert len(told.losses[Modality.SEMANTIC]) == 3 * groups


def test_who_knows_how_often_codes_come_is_as_sure_as_their_entropy(utterances):
    nats = unigram(utterances, utterances, "linguistic")
    assert nats == pytest.approx(math.log(16), abs=0.3)
    assert nats < math.log(LINGUISTIC_CODES)


def test_what_a_model_draws_are_whole_groups_the_same_for_a_seed(learnt):
    begun = learnt.held[0].tokens[:50]
    drawn = sample_continuation(learnt.model, begun, 20, seed=3)
    groups = drawn.reshape(20, 5)
    assert (groups[:, :2] < LINGUISTIC_CODES).all()
    assert (groups >= 0).all()
    assert (groups[:, 2:] >= LINGUISTIC_CODES).all()
    assert (groups < LINGUISTIC_CODES + SEMANTIC_CODES).all()
    assert drawn.tolist() == sample_continuation(learnt.model, begun, 20, seed=3).tolist()
    assert drawn.tolist() != sample_continuation(learnt.model, begun, 20, seed=4).tolist()


def test_too_little_speech_is_refused(utterances):
    with pytest.raises(SetupError, match="from 3 recordings are too little for --perplexity"):
        compare(utterances[:3], 2, 0)


def test_the_vocabulary_has_a_place_for_every_code():
    assert VOCABULARY["size"] == FIRST + LINGUISTIC_CODES + SEMANTIC_CODES


def test_turns_of_a_version_without_audio_have_their_codes(codes_alone):
    turns = list(shard_turns(codes_alone, ["train"]))
    assert len(turns) == 48, "of each of two families once"
    assert {turn.flac for turn in turns} == {None}
    assert {len(turn.tokens(codes_alone)) for turn in turns} == {60, 65, 70, 75}


@pytest.mark.slow
def test_the_command_compares_codes_of_a_version_without_audio(command, codes_alone, untaught, tmp_path):
    page = tmp_path / "tokens.html"
    options = ("--perplexity", "--steps", 20, "--vocoder", untaught, "--report", page)
    dataset = codes_alone.store.directory
    done = command("evaluate", "tokens", *options, "--json", dataset)
    assert done.code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["resynthesis"] is None
    assert told["perplexity"]["steps"] == 20
    assert told["sampled"] is None, "no turn is long enough to be begun"
    assert "How well a small model predicts the codes" in page.read_text()
    assert "both merged" in command("evaluate", "tokens", *options, dataset).stdout
