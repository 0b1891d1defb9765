"""A Whisper model of CTranslate2 (`model.bin`) in the format of transformers, with the same weights."""

import struct
from pathlib import Path

import numpy as np
import torch
import transformers as hf

_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def weights(file: Path) -> dict[str, torch.Tensor]:
    """Name -> weight, as float32, of the variables of a float file."""
    data = file.read_bytes()
    at = 0

    def number(kind: str) -> int:
        nonlocal at
        [value] = struct.unpack_from(f"<{kind}", data, at)
        at += struct.calcsize(kind)
        return value

    def name() -> str:
        nonlocal at
        length = number("H")
        at += length
        return data[at - length : at].rstrip(b"\0").decode()

    number("I"), name(), number("I")  # version, kind and revision of the file
    found: dict[str, torch.Tensor] = {}
    for _ in range(number("I")):
        key, shape = name(), [number("I") for _ in range(number("B"))]
        kind, length = _TYPES[number("B")], number("I")
        values = np.frombuffer(data[at : at + length], kind).reshape(shape)
        at += length
        found[key] = torch.from_numpy(values.astype(np.float32))
    for _ in range(number("I")):  # two names of one variable
        alias, key = name(), name()
        found[alias] = found[key]
    return found


def convert(source: Path, folder: Path, tokenizer: Path) -> Path:
    """Write the multilingual base model in `source` to a folder."""
    theirs = weights(source / "model.bin")
    config = hf.WhisperConfig(vocab_size=51865)  # the defaults have the shape of the base model
    sizes = {"encoder_layers": 6, "decoder_layers": 6, "d_model": 512}
    sizes |= {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in HEADS.items()}
    config.update(sizes)
    model = hf.WhisperForConditionalGeneration(config)
    ours = {}
    for side in ("encoder", "decoder"):
        ours[f"model.{side}.embed_positions.weight"] = theirs[f"{side}/position_encodings/encodings"]
        ours |= _norm(theirs, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for layer in range(6):
            there, here = f"{side}/layer_{layer}", f"model.{side}.layers.{layer}"
            ours |= _attention(theirs, f"{there}/self_attention", f"{here}.self_attn")
            if side == "decoder":
                ours |= _attention(theirs, f"{there}/attention", f"{here}.encoder_attn")
            ours |= _norm(theirs, f"{there}/ffn/layer_norm", f"{here}.final_layer_norm")
            for k in (0, 1):
                ours |= _linear(theirs, f"{there}/ffn/linear_{k}", f"{here}.fc{k + 1}")
    for k in (1, 2):
        ours |= _linear(theirs, f"encoder/conv{k}", f"model.encoder.conv{k}")
    embeddings = theirs["decoder/embeddings/weight"]
    ours |= {"model.decoder.embed_tokens.weight": embeddings, "proj_out.weight": embeddings}
    model.load_state_dict(ours)
    text = hf.WhisperTokenizerFast(tokenizer_file=str(tokenizer))
    codes = {token: n for token, n in text.get_vocab().items() if 50258 < n < 50358}
    model.generation_config = hf.GenerationConfig(
        is_multilingual=True,
        lang_to_id=codes,
        task_to_id={"translate": 50358, "transcribe": 50359},
        no_timestamps_token_id=50363,
        decoder_start_token_id=50258,
        eos_token_id=50257,
        pad_token_id=50257,
        begin_suppress_tokens=[220, 50257],
        max_length=448,
    )
    model.save_pretrained(folder)
    hf.WhisperProcessor(hf.WhisperFeatureExtractor(), text).save_pretrained(folder)
    return folder


HEADS = {"attention_heads": 8, "ffn_dim": 2048}


def _norm(theirs, there, here):
    return {f"{here}.weight": theirs[f"{there}/gamma"], f"{here}.bias": theirs[f"{there}/beta"]}


def _linear(theirs, there, here):
    return {f"{here}.{name}": theirs[f"{there}/{name}"] for name in ("weight", "bias")}


def _attention(theirs, there, here):
    """The projections, which CTranslate2 stacks: query, key and value, or the latter two after the query."""
    names = ["q_proj", "k_proj", "v_proj"]
    stacked = [part for k in (0, 1) for part in theirs[f"{there}/linear_{k}/weight"].split(512)]
    biases = [part for k in (0, 1) for part in theirs[f"{there}/linear_{k}/bias"].split(512)]
    output = 1 if len(stacked) == 4 else 2
    found = _linear(theirs, f"{there}/linear_{output}", f"{here}.out_proj")
    found |= _norm(theirs, f"{there}/layer_norm", f"{here}_layer_norm")
    for name, weight, bias in zip(names, stacked, biases, strict=False):
        found[f"{here}.{name}.weight"] = weight
        if name != "k_proj":  # which has none
            found[f"{here}.{name}.bias"] = bias
    return found
