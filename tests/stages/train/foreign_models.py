"""Small models of random weights of many types, as their library saves them."""

from pathlib import Path
from typing import Any

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
EXPERTS = {"moe_intermediate_size": 16, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"attention_dropout": 0.2},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {},
    "mistral": {"sliding_window": 8},
    "gemma3_text": {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "phi3": {"resid_pdrop": 0.2, "embd_pdrop": 0.2, "pad_token_id": 0},
    "olmo2": {},
    "smollm3": {"pad_token_id": 0},
    "starcoder2": {"residual_dropout": 0.2, "embedding_dropout": 0.2},
    "mixtral": EXPERTS,
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3_moe": EXPERTS,
    "qwen3_next": {
        **EXPERTS,
        **LINEAR,
        "shared_expert_intermediate_size": 16,
        "layer_types": ["linear_attention", "full_attention"],
    },
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "bamba": {"attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8},
}


def write_model(kind: str, folder: Path, vocabulary: int) -> Path:
    from transformers import AutoConfig, AutoModelForCausalLM

    import torch

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=vocabulary, **SIZES, **KINDS[kind])
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder
