"""A version to train on, and a recipe for the whole chain."""

from pathlib import Path

import yaml

from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import two_who_talk

WORDS = [
    "the ferry leaves at nine",
    "bread is sold out today",
    "we open again on monday",
    "take the second road",
]


def conversation(name: str, turns: int = 4) -> list:
    """Questions and answers of a few words and a second of codes, the last pair noisier than the others."""
    return two_who_talk(
        name,
        turns,
        lambda n: {
            "text": f"{WORDS[n % 4]} {name[0]}",
            "groups": 6,
            "dnsmos_overall": 3.4 if n < 2 else 2.2,
        },
        every=3.0,
        seconds=2.4,
    )


def language_model(folder: Path) -> Path:
    """A language model with random weights and a byte-level BPE, as its library saves it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(WORDS, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(fast), **sizes)).save_pretrained(folder)
    return folder


def dataset(folder: Path, **recipe: object) -> Path:
    """A published version of four such conversations, with pairs, in the vocabulary of `language_model`,
    whose few ids make a step fast."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = language_model(folder / "language-model")
    turns = {name: conversation(name) for name in ("a.wav", "b.wav", "c.wav", "d.wav")}
    settings = {
        "vocabulary": {"tokenizer": f"file:{tokenizer}", "preset": "extended"},
        "compose": {"families": ["asr", "tts", "aqta", "aqtaa"]},
        "pair_turns": {"history_turns_max": 0},
        "preferences": {"contrast": {"deaf": 1, "other": 1}},
        "shard": {"megabytes": 0.05, "validation_share": 0},
    }
    plan = planned(folder, turns, **(settings | recipe))
    packed(plan)
    return Path(folder / "out" / "given")


RECIPE = {
    "name": "chain",
    "backbone": {"preset": "tiny"},
    "train": {
        "sequence_length": 512,
        "global_batch_size": 2,
        "precision": "float32",
        "learning_rate": 1e-2,
        "final_learning_rate": 1e-3,
        "weight_decay": 0,
    },
    "pretrain": {"families": ["asr", "tts"], "mixture": {"asr": 1, "tts": 1}, "steps": 2},
    "sft1": {"steps": 30},
    "sft2": {"quality": {"dnsmos_overall_min": 3}, "steps": 4},
    "dpo": {"steps": 8, "learning_rate": 2e-3, "final_learning_rate": 1e-3, "preference": {"beta": 0.5}},
    "merge": None,
}
"""A small chain: sft1 memorises its data."""


def write_recipe(folder: Path, **changes: object) -> Path:
    file = folder / "chain.yaml"
    recipe = {"dataset": str(folder / "out" / "given"), "output": "runs"} | RECIPE | changes
    file.write_text(yaml.safe_dump({name: value for name, value in recipe.items() if value != "absent"}))
    return file


class Trained:
    """The chain of `RECIPE`, trained by the command."""

    def __init__(self, folder: Path, said: dict) -> None:
        self.folder = folder
        self.recipe = folder / "chain.yaml"
        self.dataset = folder / "out" / "given"
        self.said = said

    def stage(self, name: str) -> Path:
        return self.folder / "runs" / "chain" / name

    def result(self, name: str) -> dict:
        return next(stage for stage in self.said["stages"] if stage["stage"] == name)
