"""Speech-to-text models with random weights, of each kind that transformers has, as folders on disk.

Their words mean nothing. They have the configuration, the tokenizer and the processor of the real ones.
"""

import json
from pathlib import Path

import torch
import transformers as hf

ENCODER = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "subsampling_conv_channels": 8,
    "scale_input": False,
}
"""Of Parakeet and Canary."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def make(kind: str, folder: Path, whisper_tokenizer: Path) -> Path:
    """Write a model of a kind into a folder. The same kind has the same weights."""
    torch.manual_seed(7)
    model, processor = MAKERS[kind](folder, whisper_tokenizer)
    head = getattr(model, "ctc_head", getattr(model, "lm_head", None))
    if kind in ("wav2vec2", "parakeet_ctc"):  # a clear best class in every frame, whatever the rounding
        head.weight.data *= 100
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _whisper(_folder, tokenizer):
    end, start = 50257, 50258
    config = hf.WhisperConfig(
        vocab_size=51865,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
    )
    model = hf.WhisperForConditionalGeneration(config)
    model.generation_config = hf.GenerationConfig(
        is_multilingual=True,
        lang_to_id={"<|en|>": 50259, "<|zh|>": 50260},
        task_to_id={"translate": 50358, "transcribe": 50359},
        no_timestamps_token_id=50363,
        decoder_start_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
        max_length=448,
    )
    text = hf.WhisperTokenizerFast(tokenizer_file=str(tokenizer))
    return model, hf.WhisperProcessor(hf.WhisperFeatureExtractor(), text)


def _moonshine(_folder, tokenizer):
    config = hf.MoonshineConfig(
        vocab_size=51865,
        hidden_size=32,
        intermediate_size=32,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        bos_token_id=50258,
        decoder_start_token_id=50258,
        eos_token_id=50257,
        pad_token_id=50257,
    )
    text = hf.PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer), eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    features = hf.Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False)
    return hf.MoonshineForConditionalGeneration(config), hf.Wav2Vec2Processor(features, text)


def _wav2vec2(folder, _tokenizer):
    vocabulary = {name: n for n, name in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    config = hf.Wav2Vec2Config(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    text = hf.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), pad_token="<pad>", word_delimiter_token="|")
    features = hf.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    return hf.Wav2Vec2ForCTC(config), hf.Wav2Vec2Processor(features, text)


def _pieces(*special: str):
    """A tokenizer of letters, where ▁ is a space; `special` come last."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    names = ["<unk>", "▁", *(f"▁{letter}" for letter in LETTERS), *LETTERS]
    tokenizer = Tokenizer(models.WordLevel({name: n for n, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    return tokenizer


def _parakeet_ctc(_folder, _tokenizer):
    text = hf.ParakeetTokenizer(tokenizer_object=_pieces("<pad>"), pad_token="<pad>", unk_token="<unk>")
    config = hf.ParakeetCTCConfig(
        vocab_size=len(text), pad_token_id=text.pad_token_id, encoder_config=ENCODER
    )
    return hf.ParakeetForCTC(config), hf.ParakeetProcessor(
        hf.ParakeetFeatureExtractor(), text, decoder_type="ctc"
    )


def _parakeet_tdt(_folder, _tokenizer):
    text = hf.ParakeetTokenizer(
        tokenizer_object=_pieces("<pad>", "<blank>"), pad_token="<pad>", unk_token="<unk>"
    )
    config = hf.ParakeetTDTConfig(
        vocab_size=len(text),
        decoder_hidden_size=16,
        num_decoder_layers=1,
        encoder_config=ENCODER,
        pad_token_id=text.pad_token_id,
        blank_token_id=text.convert_tokens_to_ids("<blank>"),
    )
    model = hf.ParakeetForTDT(config)
    model.generation_config.decoder_start_token_id = config.blank_token_id
    # The classes after the tokens are durations.
    model.generation_config.suppress_tokens = [len(text) + n for n in range(len(config.durations))]
    return model, hf.ParakeetProcessor(hf.ParakeetFeatureExtractor(), text, decoder_type="tdt")


def _canary(_folder, _tokenizer):
    special = ("<pad>", "<end>", "<start>", "<|en|>", "<|zh|>")
    text = hf.PreTrainedTokenizerFast(
        tokenizer_object=_pieces(*special), pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )
    end, start = text.convert_tokens_to_ids(["<end>", "<start>"])
    config = hf.CanaryConfig(
        vocab_size=len(text),
        encoder_config={**ENCODER, "num_mel_bins": 80, "model_type": "parakeet_encoder"},
        decoder_config={
            "vocab_size": len(text),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "pad_token_id": text.pad_token_id,
            "eos_token_id": end,
            "bos_token_id": start,
        },
        decoder_start_token_id=start,
    )
    template = (
        "{% for m in messages %}{% for c in m.content if c.type == 'text' %}"
        "<start><|{{ c.source_language }}|>{% endfor %}{% endfor %}"
    )
    model = hf.CanaryForConditionalGeneration(config)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = text.pad_token_id, end
    return model, hf.CanaryProcessor(hf.ParakeetFeatureExtractor(), text, chat_template=template)


def _qwen3_asr(_folder, _tokenizer):
    marks = ("<|audio_start|>", "<|audio_pad|>", "<|audio_end|>")
    tokenizer = _pieces("<pad>", "<end>", *marks, "<asr_text>")
    text = hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<end>",
        unk_token="<unk>",
        extra_special_tokens=dict(
            zip(("audio_bos_token", "audio_token", "audio_eos_token"), marks, strict=True)
        ),
    )
    config = hf.Qwen3ASRConfig(
        audio_config={
            "num_mel_bins": 128,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
            "d_model": 16,
            "output_dim": 16,
            "downsample_hidden_size": 8,
        },
        text_config={
            "model_type": "qwen3",
            "vocab_size": len(text),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
        },
        audio_token_id=text.convert_tokens_to_ids(marks[1]),
        pad_token_id=text.pad_token_id,
        eos_token_id=text.eos_token_id,
        timestamp_token_id=text.eos_token_id,
    )
    template = (
        "{% for m in messages %}{% for c in m.content %}"
        "{% if c.type == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>"
        "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endfor %}"
    )
    return hf.Qwen3ASRForConditionalGeneration(config), hf.Qwen3ASRProcessor(
        hf.Qwen3ASRFeatureExtractor(), text, chat_template=template
    )


def punctuation(folder: Path, ends: str, pauses: str, labels: tuple[str, str, str]) -> Path:
    """Write a token classifier that puts the second label after one word and the third after another."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, ends: 1, pauses: 2, "[PAD]": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = hf.BertConfig(
        vocab_size=4,
        hidden_size=8,
        num_hidden_layers=0,
        num_attention_heads=1,
        intermediate_size=8,
        id2label=dict(enumerate(labels)),
    )
    model = hf.BertForTokenClassification(config)
    embeddings = model.bert.embeddings
    for name in ("word", "position", "token_type"):
        getattr(embeddings, f"{name}_embeddings").weight.data.zero_()
    embeddings.word_embeddings.weight.data[:3, :3] = torch.eye(3)
    model.classifier.weight.data.zero_()
    model.classifier.weight.data[:, :3] = torch.eye(3)
    model.save_pretrained(folder)
    text = hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")
    text.save_pretrained(folder)
    return folder


MAKERS = {
    "whisper": _whisper,
    "moonshine": _moonshine,
    "wav2vec2": _wav2vec2,
    "parakeet_ctc": _parakeet_ctc,
    "parakeet_tdt": _parakeet_tdt,
    "canary": _canary,
    "qwen3_asr": _qwen3_asr,
}
"""Kind -> a function of the folder and Whisper's tokenizer.json that returns the model and its processor."""
