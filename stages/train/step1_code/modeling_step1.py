"""The Step-1 decoder for `AutoModelForCausalLM.from_pretrained(.., trust_remote_code=True)`.

RMSNorm before each block, SwiGLU, grouped-query attention, no biases. Attention has no rotary positions: its
scores fall with the square root of the distance, by a slope of each head. Names of tensors end in their
dimensions: B sequences, L new positions, T positions so far, D hidden, H query heads, G key and value heads,
K width of a head, V vocabulary.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from stages.train.step1_code.configuration_step1 import Step1Config


def slopes_of(heads: int) -> list[float]:
    """2^(-8k/n) for the first n heads, the largest power of two; 2^(-4(2k-1)/n) for the rest."""
    n = 2 ** int(math.log2(heads))
    powers = [-8 * k / n for k in range(1, n + 1)] + [-4 * (2 * k - 1) / n for k in range(1, heads - n + 1)]
    return [2.0**power for power in powers]


def attention_bias(heads: int, new: int, length: int, mask_BT: Tensor | None, like: Tensor) -> Tensor:
    """bias_BHLT of the last `new` of `length` positions: -slope * sqrt(distance), and the lowest number for
    positions that are later or masked."""
    at_T = torch.arange(length, device=like.device)
    distance_LT = at_T[length - new :, None] - at_T
    slopes_H = torch.tensor(slopes_of(heads), device=like.device)
    bias_BHLT = (-slopes_H[:, None, None] * distance_LT.clamp(min=0).float().sqrt())[None]
    hidden_BHLT = (distance_LT < 0)[None, None]
    if mask_BT is not None:
        hidden_BHLT = hidden_BHLT | (mask_BT[:, None, None, :] == 0)
    return bias_BHLT.masked_fill(hidden_BHLT, torch.finfo(like.dtype).min).to(like.dtype)


class Step1Attention(nn.Module):
    def __init__(self, config: Step1Config, layer: int) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        self.head = config.hidden_size // config.num_attention_heads
        grouped = config.num_attention_groups * self.head
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, grouped, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, grouped, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x_BLD: Tensor, bias_BHLT: Tensor, cache: Cache | None) -> Tensor:
        q_BHLK, k_BGTK, v_BGTK = (
            project(x_BLD).unflatten(-1, (-1, self.head)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        if cache is not None:
            k_BGTK, v_BGTK = cache.update(k_BGTK, v_BGTK, self.layer)
        shared = q_BHLK.shape[1] // k_BGTK.shape[1]
        k_BHTK, v_BHTK = k_BGTK.repeat_interleave(shared, 1), v_BGTK.repeat_interleave(shared, 1)
        if self.config._attn_implementation == "eager":
            scores_BHLT = q_BHLK @ k_BHTK.mT / math.sqrt(self.head) + bias_BHLT
            o_BHLK = scores_BHLT.softmax(-1, dtype=torch.float32).to(q_BHLK.dtype) @ v_BHTK
        else:
            o_BHLK = F.scaled_dot_product_attention(q_BHLK, k_BHTK, v_BHTK, attn_mask=bias_BHLT)
        out: Tensor = self.o_proj(o_BHLK.transpose(1, 2).flatten(-2))
        return out


class Step1MLP(nn.Module):
    def __init__(self, config: Step1Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x_BLD)) * self.up_proj(x_BLD))
        return out


class Step1Layer(nn.Module):
    def __init__(self, config: Step1Config, layer: int) -> None:
        super().__init__()
        self.self_attn = Step1Attention(config, layer)
        self.mlp = Step1MLP(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, x_BLD: Tensor, bias_BHLT: Tensor, cache: Cache | None) -> Tensor:
        x_BLD = x_BLD + self.self_attn(self.input_layernorm(x_BLD), bias_BHLT, cache)
        out: Tensor = x_BLD + self.mlp(self.post_attention_layernorm(x_BLD))
        return out


class Step1PreTrainedModel(PreTrainedModel):
    config_class = Step1Config
    base_model_prefix = "model"
    supports_gradient_checkpointing = False
    _supports_sdpa = True
    _no_split_modules = ["Step1Layer"]  # noqa: RUF012 (as transformers declares it)


class Step1Model(Step1PreTrainedModel):
    def __init__(self, config: Step1Config) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Step1Layer(config, n) for n in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPast:
        x_BLD = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        before = past_key_values.get_seq_length() if past_key_values is not None else 0
        new = x_BLD.shape[1]
        bias = attention_bias(self.config.num_attention_heads, new, before + new, attention_mask, x_BLD)
        for layer in self.layers:
            x_BLD = layer(x_BLD, bias, past_key_values)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x_BLD), past_key_values=past_key_values)


class Step1ForCausalLM(Step1PreTrainedModel, GenerationMixin):
    def __init__(self, config: Step1Config) -> None:
        super().__init__(config)
        self.model = Step1Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        out = self.model(input_ids, attention_mask, past_key_values, inputs_embeds, use_cache)
        logits_BLV = self.lm_head(out.last_hidden_state[:, -logits_to_keep:])
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits_BLV[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(loss=loss, logits=logits_BLV, past_key_values=out.past_key_values)
