"""The loss compared with TRL's DPOTrainer, on a model of another library, with the same masks."""

import pytest
import torch
from torch.nn import functional as F

from stages.train.config import DPOConfig
from stages.train.dpo import anchor_tokens, compare, side_sums

trl = pytest.importorskip("trl", reason="the oracle is trl, of the development dependencies")

AUDIO = 40
"""Ids from this one on represent audio codes."""
VOCABULARY = 64
PAIRS = 3


@pytest.fixture(scope="module")
def models():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval(), LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def inputs():
    """The chosen answers of all pairs, then the rejected ones, of different lengths."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, VOCABULARY, (2 * PAIRS, 24), generator=generator)
    lengths = torch.tensor([24, 17, 20, 15, 24, 11])
    at = torch.arange(24)
    attention = (at < lengths[:, None]).long()
    answer = attention * (at >= 6)
    return tokens * attention, attention, answer


def theirs(models, inputs, tmp_path, loss_type, weights=None):
    from datasets import Dataset
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {"<eos>": 0, **{f"w{n}": n for n in range(1, VOCABULARY)}}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="w1")), eos_token="<eos>", pad_token="<eos>"
    )
    arguments = trl.DPOConfig(
        str(tmp_path),
        beta=0.3,
        loss_type=loss_type,
        loss_weights=weights,
        report_to=[],
        use_cpu=True,
        bf16=False,
    )
    trainer = trl.DPOTrainer(
        model=models[0],
        ref_model=models[1],
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": "w1", "chosen": "w2", "rejected": "w3"}]),
        processing_class=tokenizer,
    )
    tokens, attention, answer = inputs
    batch = {"input_ids": tokens, "attention_mask": attention, "completion_mask": answer}
    trainer.model.eval()
    return trainer.compute_loss(trainer.model, batch).item()


def ours(models, inputs, config):
    tokens, attention, answer = inputs
    sums = []
    for model in models:
        with torch.no_grad():
            logits = model(input_ids=tokens, attention_mask=attention).logits[:, :-1]
        target = answer[:, 1:] == 1
        losses = F.cross_entropy(logits[target], tokens[:, 1:][target], reduction="none")
        row, _ = target.nonzero(as_tuple=True)
        side = 2 * (row % PAIRS) + row // PAIRS
        modality = (tokens[:, 1:][target] >= AUDIO).long()
        sums.append(side_sums(losses, side, modality, PAIRS))
    policy, reference = sums
    return compare(policy, reference.logps_P2M, config, PAIRS, anchor_tokens(policy, config)).loss.item()


def masked(inputs):
    tokens, attention, answer = inputs
    return tokens, attention, answer * (tokens < AUDIO)


@pytest.mark.parametrize("mask_audio", [True, False])
@pytest.mark.parametrize(
    ("setting", "loss_type", "weights"),
    [
        ({}, ["sigmoid"], None),
        ({"length_normalised": True}, ["sigmoid_norm"], None),
        ({"anchor": 0.7}, ["sigmoid", "sft"], [1.0, 0.7]),
    ],
)
def test_the_loss_equals_that_of_trl(models, inputs, tmp_path, mask_audio, setting, loss_type, weights):
    seen = masked(inputs) if mask_audio else inputs
    expected = theirs(models, seen, tmp_path, loss_type, weights)
    config = DPOConfig(beta=0.3, mask_audio=mask_audio, **setting)
    assert ours(models, inputs, config) == pytest.approx(expected, abs=1e-5)
    assert abs(expected - 0.6931) > 0.01
