"""Small models predict each codebook alone and together with the other."""

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
    """Random linguistic codes; the semantic codes of a group follow from the last of them."""
    linguistic = np.random.default_rng(seed).integers(0, 16, (groups, 2))
    last = linguistic[:, 1:] + LINGUISTIC_CODES
    codes = np.concatenate([linguistic, last + 100, last + 200, last + 300], axis=1)
    return CodedUtterance(source, codes.ravel().astype(np.int32))


@pytest.fixture(scope="module")
def utterances() -> list[CodedUtterance]:
    return [coded(f"source-{n % 20}", 30, n) for n in range(60)]


@pytest.fixture(scope="module")
def trained(utterances):
    return compare(utterances, steps=12, seed=0)


@pytest.mark.slow
def test_a_codebook_that_follows_from_the_other_is_predicted_together_with_it(utterances):
    """Alone, the first semantic code of each group is one of sixteen equally likely ones."""
    comparison = compare(utterances, steps=200, seed=0).comparison
    alone, beside = (part["semantic"].nats_per_token.value for part in (comparison.alone, comparison.beside))
    assert alone > math.log(16) / 3
    assert beside < 0.5 * alone
    for part in (comparison.alone, comparison.beside):
        assert part["linguistic"].nats_per_token.value > math.log(16) - 0.05


def test_predictions_are_better_than_chance(trained):
    comparison = trained.comparison
    for kind, codes in (("linguistic", LINGUISTIC_CODES), ("semantic", SEMANTIC_CODES)):
        assert max(
            part[kind].nats_per_token.value for part in (comparison.alone, comparison.beside)
        ) < math.log(codes)


def test_rates_and_parts_add_up(trained):
    comparison = trained.comparison
    for kind, rate in (("linguistic", 2 / 0.12), ("semantic", 3 / 0.12), ("both", 5 / 0.12)):
        alone = comparison.alone[kind]
        assert alone.nats_per_second.value == pytest.approx(rate * alone.nats_per_token.value)
        assert alone.nats_per_token.low <= alone.nats_per_token.value <= alone.nats_per_token.high
        assert alone.nats_per_token.utterances == comparison.sources["held"], (
            "the bootstrap resamples whole sources"
        )
    parts = sum(comparison.beside[kind].nats_per_second.value for kind in ("linguistic", "semantic"))
    assert parts == pytest.approx(comparison.alone["both"].nats_per_second.value)
    assert comparison.seconds["learnt"] + comparison.seconds["held"] == pytest.approx(60 * 30 * 0.12)
    values = json.loads(json.dumps(comparison.as_json()))
    assert values["alone"]["both"]["perplexity"] == pytest.approx(
        math.exp(values["alone"]["both"]["nats_per_token"]["value"])
    )


def test_all_three_get_the_same_compute(trained):
    """Equal tokens per step: a model of fewer tokens per second sees the same speech more often."""
    epochs = trained.comparison.epochs
    assert epochs["linguistic"] > epochs["semantic"] > epochs["both"] > 0


def test_whole_sources_are_held_out(utterances):
    training, held = held_out(utterances, 0)
    assert {one.source for one in training}.isdisjoint(one.source for one in held)
    assert len(training) + len(held) == len(utterances)
    share = sum(one.seconds for one in held) / sum(one.seconds for one in utterances)
    assert 0.2 <= share < 0.3
    assert held_out(utterances[::-1], 0)[1] == held[::-1]
    assert {one.source for one in held_out(utterances, 1)[1]} != {one.source for one in held}


def test_codes_of_a_kind_are_between_bos_and_eos():
    one = CodedUtterance("a", np.array([1, 2, 1034, 1044, 1054, 3, 4, 1064, 1074, 1084], np.int32))
    assert one.of("linguistic").tolist() == [BOS, *(FIRST + n for n in (1, 2, 3, 4)), EOS]
    assert one.of("semantic").tolist()[1:-1] == [FIRST + n for n in (1034, 1044, 1054, 1064, 1074, 1084)]
    assert one.of("both").tolist()[1:-1] == (one.tokens + FIRST).tolist()
    assert one.seconds == pytest.approx(0.24)


def test_documents_in_memory_are_read_like_those_of_shards():
    documents = documents_of([np.array([1, 5, 9, 2], np.int32), np.array([1, 7, 2], np.int32)])
    assert documents.lengths.tolist() == [4, 3]
    [document] = documents.read([1])
    assert document.tokens.tolist() == [1, 7, 2]
    assert document.loss.tolist() == [0, 1, 1]


def test_losses_cover_every_code_and_nothing_else(trained):
    [losses] = losses_of(trained.model, trained.held[:1], "both")
    groups = len(trained.held[0].tokens) // 5
    assert len(losses.losses[Modality.LINGUISTIC]) == 2 * groups
    assert len(losses.losses[Modality.SEMANTIC]) == 3 * groups


def test_the_loss_of_the_unigram_model_is_the_entropy(utterances):
    nats = unigram(utterances, utterances, "linguistic")
    assert nats == pytest.approx(math.log(16), abs=0.3)
    assert nats < math.log(LINGUISTIC_CODES)


def test_sampled_codes_are_whole_groups_and_repeat_for_a_seed(trained):
    beginning = trained.held[0].tokens[:50]
    sampled = sample_continuation(trained.model, beginning, 20, seed=3)
    groups = sampled.reshape(20, 5)
    assert (groups[:, :2] < LINGUISTIC_CODES).all()
    assert (groups >= 0).all()
    assert (groups[:, 2:] >= LINGUISTIC_CODES).all()
    assert (groups < LINGUISTIC_CODES + SEMANTIC_CODES).all()
    assert sampled.tolist() == sample_continuation(trained.model, beginning, 20, seed=3).tolist()
    assert sampled.tolist() != sample_continuation(trained.model, beginning, 20, seed=4).tolist()


def test_too_little_speech_is_refused(utterances):
    with pytest.raises(SetupError, match="from 3 recordings is too little for --perplexity"):
        compare(utterances[:3], 2, 0)


def test_the_vocabulary_has_an_id_for_every_code():
    assert VOCABULARY["size"] == FIRST + LINGUISTIC_CODES + SEMANTIC_CODES


def test_turns_of_a_version_without_audio_have_their_codes(codes_only):
    turns = list(shard_turns(codes_only, ["train"]))
    assert len(turns) == 48, "each once, although two families contain it"
    assert {turn.flac for turn in turns} == {None}
    assert {len(turn.tokens(codes_only)) for turn in turns} == {60, 65, 70, 75}


@pytest.mark.slow
def test_the_command_compares_codes_of_a_version_without_audio(command, codes_only, untrained, tmp_path):
    page = tmp_path / "tokens.html"
    options = ("--perplexity", "--steps", 20, "--vocoder", untrained, "--report", page)
    dataset = codes_only.store.directory
    done = command("evaluate", "tokens", *options, "--json", dataset)
    assert done.code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["resynthesis"] is None
    assert result["perplexity"]["steps"] == 20
    assert result["sampled"] is None, "no turn is long enough to be continued"
    assert "How well a small model predicts the codes" in page.read_text()
    assert "both merged" in command("evaluate", "tokens", *options, dataset).stdout
