"""Settings of Step-1 decoders, for `AutoConfig.from_pretrained(.., trust_remote_code=True)`."""

from typing import Any, ClassVar

from transformers import PretrainedConfig


class Step1Config(PretrainedConfig):
    model_type = "step1"
    attribute_map: ClassVar[dict[str, str]] = {"num_key_value_heads": "num_attention_groups"}

    def __init__(
        self,
        hidden_size: int = 3072,
        intermediate_size: int = 8192,
        num_attention_heads: int = 48,
        num_attention_groups: int = 4,
        num_hidden_layers: int = 32,
        vocab_size: int = 74752,
        max_seq_len: int = 32768,
        rms_norm_eps: float = 1e-5,
        **settings: Any,
    ) -> None:
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_attention_heads = num_attention_heads
        self.num_attention_groups = num_attention_groups
        self.num_hidden_layers = num_hidden_layers
        self.vocab_size = vocab_size
        self.max_seq_len = max_seq_len
        self.max_position_embeddings = settings.pop("max_position_embeddings", max_seq_len)
        self.rms_norm_eps = rms_norm_eps
        super().__init__(**{"tie_word_embeddings": False, **settings})
