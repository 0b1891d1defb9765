"""Step 7: language models of Hugging Face in bfloat16, as they answer on a GPU, against their float32."""

from collections.abc import Iterator
from pathlib import Path

import torch

from stages.train.backbone import HuggingFace, load
from tests.gpu.check.setting import Facts, Setting, apart, at_most
from tests.stages.train.foreign_models import write_model

KINDS = ("qwen2", "llama", "qwen3")
SIZES = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "initializer_range": 0.03,
}


def measure(setting: Setting) -> Iterator[Facts]:
    length = setting.pick(2048, 128)
    tokens = torch.randint(3, 1000, (1, length), generator=torch.Generator().manual_seed(0))
    for kind in KINDS:
        sizes = setting.pick(SIZES, {}) | {"tie_word_embeddings": False}
        folder = write_model(kind, setting.folder / kind, setting.pick(32_000, 1024), **sizes)
        expected = logits(folder, setting, tokens, torch.float32)
        actual = logits(folder, setting, tokens, torch.bfloat16)
        equal = (expected.argmax(-1) == actual.argmax(-1)).float()
        quarter = length // 4
        yield {
            f"{kind}_equal_argmax_first_quarter": round(equal[:quarter].mean().item(), 4),
            f"{kind}_equal_argmax_last_quarter": round(equal[-quarter:].mean().item(), 4),
        }
        yield at_most(f"{kind}_logits_apart", apart(expected[-quarter:], actual[-quarter:]), 0.05)


def logits(folder: Path, setting: Setting, tokens: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Logits of every position in one document, [length, vocabulary] on the CPU."""
    model = load(folder, setting.device, dtype)
    assert isinstance(model, HuggingFace)
    tokens = tokens.to(setting.device)
    with torch.inference_mode():
        states = model.states(tokens, torch.zeros_like(tokens))
        return model.ends[1](states)[0].float().cpu()
