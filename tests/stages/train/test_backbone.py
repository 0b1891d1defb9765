"""Causal language models of Hugging Face as backbone: extended, packed, trained, and read again."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from schemas.errors import SetupError
from schemas.layout import header
from schemas.vocabulary import Vocabulary
from stages.train import backbone
from stages.train.backbone import HuggingFace, extend, positions_within, reader_of
from stages.train.checkpoint import load_into, save
from stages.train.config import TrainConfig
from stages.train.grammar import Form
from stages.train.loop import TrainingData
from stages.train.metrics import read_metrics
from stages.train.run import Start, run
from stages.train.sampling import Sampling, answer, answered
from tests.stages.train.foreign_models import theirs, tokenizer_of

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
}
KINDS = {
    "llama": {"tie_word_embeddings": False},
    "qwen2": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 8, "tie_word_embeddings": False},
}


@pytest.fixture(scope="module", params=KINDS)
def source(request, tmp_path_factory):
    """A small model of random weights as its library saves it."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    size = tokenizer_of(folder)
    config = AutoConfig.for_model(request.param, vocab_size=size, **SIZES, **KINDS[request.param])
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def extended(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("extended")
    extend(source, folder)
    return folder


@pytest.fixture
def model(extended):
    return backbone.load(extended, "cpu")


def test_new_rows_are_the_mean_of_the_others_and_the_rest_is_unchanged(source, extended):
    before, after = theirs(source), theirs(extended)
    vocabulary = Vocabulary.extended(source)
    own = len(before.get_input_embeddings().weight)
    for end in ("get_input_embeddings", "get_output_embeddings"):
        old, new = (getattr(model, end)().weight for model in (before, after))
        assert torch.equal(new[:own], old)
        assert torch.allclose(new[own:], old.mean(0).expand(len(new) - own, -1), atol=1e-6)
    assert after.config.vocab_size % 64 == 0
    assert 0 <= after.config.vocab_size - vocabulary.size < 64
    tokens = torch.randint(2, own, (1, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(after(tokens).logits[..., :own], before(tokens).logits)


def test_the_tokenizer_has_the_audio_ids_and_keeps_its_own(source, extended):
    from transformers import AutoTokenizer

    vocabulary = Vocabulary.extended(source)
    before, after = (AutoTokenizer.from_pretrained(folder) for folder in (source, extended))
    ids = {"<audio_start>": vocabulary.audio_start, "<|EOT|>": vocabulary.eot, "<s>": vocabulary.bos}
    ids |= {"<audio_0>": vocabulary.linguistic, "<audio_5119>": vocabulary.semantic + 4095}
    assert {name: after.convert_tokens_to_ids(name) for name in ids} == ids
    text = "the train leaves"
    assert before(text)["input_ids"] == after(text)["input_ids"] == vocabulary.encode(text).tolist()
    assert json.loads((extended / "vocabulary.json").read_text()) == vocabulary.describe()


def test_its_logits_equal_those_of_its_own_code(model, extended):
    tokens = torch.randint(0, 300, (2, 17), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        result = model.ends[1](model.states(tokens, torch.zeros_like(tokens)))
        assert torch.allclose(result, theirs(extended)(tokens).logits, atol=1e-5)


def test_documents_of_a_sequence_do_not_attend_to_each_other(model):
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, 300, (2, 30), generator=generator)
    documents = torch.tensor([[0] * 11 + [1] * 19, [2] * 20 + [3] * 6 + [-1] * 4])
    packed = model.states(tokens, documents)
    for b, start, end in ((0, 0, 11), (0, 11, 30), (1, 0, 20), (1, 20, 26)):
        alone = tokens[b : b + 1, start:end]
        expected = model.states(alone, torch.zeros_like(alone))[0]
        assert torch.allclose(packed[b, start:end], expected, atol=1e-5)


def test_positions_start_at_0_in_each_document():
    documents = torch.tensor([[0, 0, 0, 1, 1, -1], [2, 3, 3, 3, 3, 3]])
    assert positions_within(documents).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 3, 4]]


def test_losses_are_the_cross_entropy_of_its_logits(model):
    tokens = torch.randint(0, 300, (2, 12), generator=torch.Generator().manual_seed(4))
    documents = torch.tensor([[0] * 5 + [1] * 7, [2] * 12])
    at, targets = torch.tensor([0, 3, 6, 15]), torch.tensor([7, 300, 5, 9])
    model.requires_grad_(True)
    result = model.losses(tokens, documents, at, targets)
    logits = model.ends[1](model.states(tokens, documents)).flatten(0, 1)[at]
    assert torch.allclose(result, F.cross_entropy(logits, targets, reduction="none"), atol=1e-5)
    result.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_transformers_reads_what_is_saved(model, extended, tmp_path):
    model.requires_grad_(True)
    with torch.no_grad():
        model.ends[0].weight.add_(0.01)
    save(model, tmp_path, json.loads((extended / "vocabulary.json").read_text()), torch.bfloat16)
    again = theirs(tmp_path)
    tokens = torch.randint(0, 300, (1, 9), generator=torch.Generator().manual_seed(5))
    ours = backbone.load(tmp_path, "cpu")
    with torch.no_grad():
        expected = ours.ends[1](ours.states(tokens, torch.zeros_like(tokens)))
        assert torch.allclose(again(tokens).logits, expected, atol=1e-5)
    weight = model.ends[0].weight.bfloat16().float()
    assert torch.equal(again.get_input_embeddings().weight, weight)
    assert (tmp_path / "tokenizer.json").read_bytes() == (extended / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("source", ["llama"], indirect=True)
def test_it_is_trained_and_transformers_reads_the_result(extended, ids, sample_shards, opened, tmp_path):
    config = TrainConfig(
        sequence_length=64,
        global_batch_size=2,
        steps=6,
        learning_rate=1e-2,
        warmup=0,
        precision="float32",
        activation_checkpointing=True,
    )

    def data():
        return TrainingData(opened(sample_shards), ids, {"version": "v"})

    finished = run(config, data, Start(checkpoint=extended), tmp_path / "run")
    losses = [line["loss"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert losses[-1] < losses[0]
    trained, before = theirs(finished), theirs(extended)
    assert not torch.equal(trained.get_output_embeddings().weight, before.get_output_embeddings().weight)


def test_a_model_built_on_the_meta_device_is_filled_completely(extended):
    """As in every process of a run: nothing is left uninitialised, not even rotary frequencies."""
    with torch.device("meta"):
        built = backbone.blank(extended)
    built.to_empty(device="cpu")
    load_into(built, extended)
    loaded = theirs(extended)
    ours, buffers = dict(built.named_buffers()), dict(loaded.named_buffers())
    assert ours.keys() == buffers.keys()
    assert all(torch.equal(ours[name], buffer) for name, buffer in buffers.items())
    assert built.state_dict().keys() == loaded.state_dict().keys()


def test_cached_reading_gives_the_logits_of_the_whole_sequence(model):
    tokens = torch.randint(0, 300, (20,), generator=torch.Generator().manual_seed(6))
    reader = reader_of(model)
    reader.read(tokens[:9].tolist())
    other = reader.copy()
    for at in range(9, 20):
        result = reader.read([int(tokens[at])])
        whole = model.states(tokens[None, : at + 1], torch.zeros(1, at + 1, dtype=torch.long))
        assert torch.allclose(result, model.ends[1](whole)[0, -1], atol=1e-5)
    other.read(tokens[9:19].tolist())
    assert torch.allclose(other.read([int(tokens[19])]), result, atol=1e-5)


def test_it_answers_in_text_and_codes(model, source):
    vocabulary = Vocabulary.extended(source)
    prompt = np.concatenate([header("human", vocabulary), [vocabulary.eot], header("assistant", vocabulary)])
    sampling = Sampling(1.0, 1.0, 0, 60)
    result = answered(answer(reader_of(model), prompt, vocabulary, Form(), sampling))
    assert result.text
    assert result.voices


def test_a_model_whose_logits_are_scaled_is_refused(tmp_path):
    from transformers import AutoConfig

    AutoConfig.for_model("granite", **SIZES, vocab_size=300, logits_scaling=8.0).save_pretrained(tmp_path)
    with pytest.raises(SetupError, match="logits_scaling"), torch.device("meta"):
        HuggingFace(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(SetupError, match=r"config\.json"):
        backbone.load(tmp_path, "cpu")
    (tmp_path / "config.json").write_text('{"model_type": "nobody-knows", "architectures": ["X"]}')
    with pytest.raises(SetupError, match="can't be used as a backbone"):
        backbone.load(tmp_path, "cpu")
