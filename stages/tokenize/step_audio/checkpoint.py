"""Reads and checks the released directory. All sizes are taken from its files."""

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from schemas.errors import SetupError
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES
from stages.tokenize.step_audio.features import FBANK_BINS, MEL_BINS, STACKED
from stages.tokenize.step_audio.linguistic import LinguisticEncoder, LinguisticSizes
from stages.tokenize.step_audio.onnx_weights import DOWNLOAD_AGAIN, read_semantic
from stages.tokenize.step_audio.semantic import SemanticEncoder

PARAFORMER = "dengcunqin/speech_paraformer-large_asr_nat-zh-cantonese-en-16k-vocab8501-online"
CENTRES = "linguistic_tokenizer.npy"
SEMANTIC = "speech_tokenizer_v1.onnx"

FRONTEND = {
    "fs": 16000,
    "window": "hamming",
    "n_mels": FBANK_BINS,
    "frame_length": 25,
    "frame_shift": 10,
    "lfr_m": STACKED,
    "lfr_n": 6,
}
"""Settings of the features for which the linguistic codes are defined."""


@dataclass(frozen=True)
class Checkpoint:
    """Both encoders on the CPU, their codebooks, and the normalization of the linguistic features."""

    linguistic: LinguisticEncoder
    linguistic_centres: Tensor
    """[codes, width]"""
    shift: Tensor
    """[560], added to the stacked features."""
    scale: Tensor
    """[560], by which they are multiplied after that."""
    dither: float
    """Standard deviation of the noise that the original adds, in 16-bit scale."""
    semantic: SemanticEncoder
    semantic_centres: Tensor
    """[codes, width]"""


def read(directory: Path) -> Checkpoint:
    """Read a Step-Audio-Tokenizer directory.

    Raises SetupError if a file is missing, damaged, of another model, or doesn't match the others.
    """
    paraformer = directory / PARAFORMER
    if not paraformer.is_dir():
        raise SetupError(f"{directory} is not a Step-Audio-Tokenizer: no {PARAFORMER}; {DOWNLOAD_AGAIN}")
    paths = _paths(_file(paraformer, "configuration.json"))
    config_file = _file(paraformer, paths["config"])
    config = _config(config_file)
    sizes = _sizes(config["encoder_conf"], config_file)
    shift, scale = _normalisation(_file(paraformer, paths["cmvn_file"]), sizes.inputs)
    linguistic = _linguistic(_file(paraformer, paths["init_param"]), sizes, config_file)
    semantic, semantic_centres = _semantic(_file(directory, SEMANTIC))
    return Checkpoint(
        linguistic=linguistic,
        linguistic_centres=_centres(_file(directory, CENTRES), sizes.width),
        shift=shift,
        scale=scale,
        # The released file doesn't set it, and 1 is the default of the original.
        dither=float(config["frontend_conf"].get("dither", 1.0)),
        semantic=semantic,
        semantic_centres=semantic_centres,
    )


def _file(directory: Path, name: str) -> Path:
    path = directory / name
    if not path.is_file():
        raise SetupError(f"the Step-Audio-Tokenizer checkpoint has no {path}; {DOWNLOAD_AGAIN}")
    return path


def _paths(file: Path) -> dict[str, str]:
    """Names of the files with the weights, the settings and the normalization."""
    try:
        metas = json.loads(file.read_text())["file_path_metas"]
        paths = {
            "init_param": metas["init_param"],
            "config": metas["config"],
            "cmvn_file": metas["frontend_conf"]["cmvn_file"],
        }
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"{file} should name init_param, config and frontend_conf.cmvn_file under file_path_metas "
            f"({type(error).__name__}: {error}); {DOWNLOAD_AGAIN}"
        ) from error
    if wrong := [key for key, name in paths.items() if not isinstance(name, str)]:
        raise SetupError(f"{file}: {', '.join(wrong)} should be the name of a file; {DOWNLOAD_AGAIN}")
    return paths


def _config(file: Path) -> dict[str, Any]:
    config: Any
    try:
        config = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SetupError(f"{file} is damaged: {error}; {DOWNLOAD_AGAIN}") from error
    if not isinstance(config, dict):
        raise SetupError(f"{file} should be a YAML mapping; {DOWNLOAD_AGAIN}")
    for section in ("encoder_conf", "frontend_conf"):
        if not isinstance(config.get(section), dict):
            raise SetupError(f"{file} should have a section {section}; {DOWNLOAD_AGAIN}")
    frontend = config["frontend_conf"]
    for key, expected in FRONTEND.items():
        if frontend.get(key) != expected:
            raise SetupError(f"{file}: frontend_conf.{key} should be {expected}, not {frontend.get(key)}")
    dither = frontend.get("dither", 1.0)
    if not isinstance(dither, int | float) or dither < 0:
        raise SetupError(f"{file}: frontend_conf.dither should be a number >= 0, not {dither}")
    return config


def _sizes(encoder: Mapping[str, Any], file: Path) -> LinguisticSizes:
    keys = ("output_size", "attention_heads", "linear_units", "num_blocks", "kernel_size")
    for key in keys:
        if type(encoder.get(key)) is not int or encoder[key] < 1:
            raise SetupError(
                f"{file}: encoder_conf.{key} should be a positive integer, not {encoder.get(key)}"
            )
    if encoder["output_size"] % encoder["attention_heads"]:
        raise SetupError(
            f"{file}: encoder_conf.output_size {encoder['output_size']} should be a multiple of "
            f"attention_heads {encoder['attention_heads']}"
        )
    if encoder["kernel_size"] % 2 == 0 or encoder.get("sanm_shfit", 0) != 0:
        raise SetupError(
            f"{file}: the convolution of the encoder should be centred, with an odd kernel_size and "
            f"sanm_shfit 0, not {encoder['kernel_size']} and {encoder.get('sanm_shfit')}"
        )
    width, heads, hidden, blocks, kernel = (encoder[key] for key in keys)
    return LinguisticSizes(FBANK_BINS * STACKED, width, heads, hidden, blocks, kernel)


def _normalisation(file: Path, width: int) -> tuple[Tensor, Tensor]:
    """AddShift and Rescale of a Kaldi nnet in text format, each float32 [width]."""
    text = file.read_text(errors="replace")
    vectors = []
    for tag in ("AddShift", "Rescale"):
        match = re.search(rf"<{tag}>[^\[\]]*<LearnRateCoef>\s*\S+\s*\[([^\[\]]*)\]", text)
        try:
            values = np.array(match[1].split(), np.float32) if match else np.zeros(0, np.float32)
        except ValueError as error:
            raise SetupError(
                f"{file}: <{tag}> contains a value that is not a number: {error}; {DOWNLOAD_AGAIN}"
            ) from error
        if values.shape != (width,) or not np.isfinite(values).all():
            raise SetupError(
                f"{file}: <{tag}> should contain {width} finite numbers, but contains {len(values)}; "
                f"{DOWNLOAD_AGAIN}"
            )
        vectors.append(torch.from_numpy(values))
    return vectors[0], vectors[1]


def _linguistic(file: Path, sizes: LinguisticSizes, config: Path) -> LinguisticEncoder:
    try:
        # Weights only, because a full pickle can execute code.
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise SetupError(
            f"{file} is damaged or contains more than weights ({type(error).__name__}: {reason}); "
            f"{DOWNLOAD_AGAIN}"
        ) from error
    if isinstance(weights, dict):
        weights = weights.get("state_dict", weights)
    if not isinstance(weights, dict):
        raise SetupError(f"{file} should contain a dict of weights, not a {type(weights).__name__}")
    named = {str(name).removeprefix("module."): weight for name, weight in weights.items()}
    encoder = {
        name.removeprefix("encoder."): weight for name, weight in named.items() if name.startswith("encoder.")
    }
    with torch.device("meta"):
        model = LinguisticEncoder(sizes)
    load_weights(model, encoder, file, f"the sizes in {config.name}")
    return model


def _semantic(file: Path) -> tuple[SemanticEncoder, Tensor]:
    weights, sizes = read_semantic(file, MEL_BINS)
    centres = weights.pop("codebook")
    if centres.shape[1] != sizes.width or not 1 <= len(centres) <= SEMANTIC_CODES:
        raise SetupError(
            f"{file}: the codebook should have at most {SEMANTIC_CODES} rows of {sizes.width} numbers, "
            f"but its shape is {list(centres.shape)}"
        )
    with torch.device("meta"):
        model = SemanticEncoder(sizes)
    load_weights(model, weights, file, "the sizes of its first layers")
    return model, centres


def _centres(file: Path, width: int) -> Tensor:
    try:
        centres = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise SetupError(
            f"{file} is damaged or not an array of numbers: {error}; {DOWNLOAD_AGAIN}"
        ) from error
    if (
        not isinstance(centres, np.ndarray)
        or centres.dtype != np.float32
        or centres.ndim != 2
        or centres.shape[1] != width
        or not 1 <= len(centres) <= LINGUISTIC_CODES
    ):
        raise SetupError(
            f"{file} should be float32 with at most {LINGUISTIC_CODES} rows of {width} numbers, but is "
            f"{getattr(centres, 'dtype', 'an archive')} {list(getattr(centres, 'shape', ()))}; "
            f"{DOWNLOAD_AGAIN}"
        )
    if not np.isfinite(centres).all():
        raise SetupError(f"{file} contains values that are not finite; {DOWNLOAD_AGAIN}")
    return torch.from_numpy(centres)


def load_weights(model: torch.nn.Module, weights: Mapping[str, Tensor], file: Path, sizes: str) -> None:
    """Load weights into a model as float32. Raises SetupError for wrong names, shapes or values.

    `sizes` says where the sizes of the model come from, for messages.
    """
    expected = model.state_dict()
    if missing := sorted(expected.keys() - weights.keys()):
        raise SetupError(f"{file} has no {_some(missing)}, which {sizes} require; {DOWNLOAD_AGAIN}")
    if unexpected := sorted(weights.keys() - expected.keys()):
        raise SetupError(
            f"{file} also has {_some(unexpected)}, which {sizes} don't provide for; {DOWNLOAD_AGAIN}"
        )
    for name, parameter in expected.items():
        weight = weights[name]
        if not isinstance(weight, Tensor) or weight.shape != parameter.shape:
            shape = list(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
            raise SetupError(
                f"{file}: {name} should be {list(parameter.shape)} by {sizes}, but is {shape}; "
                f"{DOWNLOAD_AGAIN}"
            )
        if not torch.isfinite(weight).all():
            raise SetupError(f"{file}: {name} contains values that are not finite; {DOWNLOAD_AGAIN}")
    model.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    model.requires_grad_(False).eval()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
