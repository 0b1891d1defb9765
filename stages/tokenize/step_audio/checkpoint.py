"""The released directory, read and checked: every size comes from its own files."""

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
from stages.tokenize.step_audio.onnx_weights import AGAIN, read_semantic
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
"""The features that the linguistic codes are defined on."""


@dataclass(frozen=True)
class Checkpoint:
    """Both encoders on CPU, their codebooks, and how the linguistic features are normalised."""

    linguistic: LinguisticEncoder
    linguistic_centres: Tensor
    """[codes, width]"""
    shift: Tensor
    """[560], added to the stacked features."""
    scale: Tensor
    """[560], which they are multiplied by then."""
    dither: float
    """Standard deviation of the noise that the original adds to 16-bit samples."""
    semantic: SemanticEncoder
    semantic_centres: Tensor
    """[codes, width]"""


def read(directory: Path) -> Checkpoint:
    """Read a Step-Audio-Tokenizer directory.

    Raises SetupError for a file that is missing, truncated, of another model, or that doesn't fit the others.
    """
    paraformer = directory / PARAFORMER
    if not paraformer.is_dir():
        raise SetupError(f"{directory} is no Step-Audio-Tokenizer: it has no {PARAFORMER}; {AGAIN}")
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
        # Absent from the released file, and 1 is what the original then takes.
        dither=float(config["frontend_conf"].get("dither", 1.0)),
        semantic=semantic,
        semantic_centres=semantic_centres,
    )


def _file(directory: Path, name: str) -> Path:
    path = directory / name
    if not path.is_file():
        raise SetupError(f"the Step-Audio-Tokenizer checkpoint lacks {path}; {AGAIN}")
    return path


def _paths(file: Path) -> dict[str, str]:
    """Names of the model's, the settings' and the normalisation's files."""
    try:
        metas = json.loads(file.read_text())["file_path_metas"]
        found = {
            "init_param": metas["init_param"],
            "config": metas["config"],
            "cmvn_file": metas["frontend_conf"]["cmvn_file"],
        }
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"{file} should name init_param, config and frontend_conf.cmvn_file under file_path_metas "
            f"({type(error).__name__}: {error}); {AGAIN}"
        ) from error
    if wrong := [key for key, name in found.items() if not isinstance(name, str)]:
        raise SetupError(f"{file}: {', '.join(wrong)} should be a file's name; {AGAIN}")
    return found


def _config(file: Path) -> dict[str, Any]:
    config: Any
    try:
        config = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SetupError(f"{file} is damaged: {error}; {AGAIN}") from error
    if not isinstance(config, dict):
        raise SetupError(f"{file} should hold settings by name; {AGAIN}")
    for section in ("encoder_conf", "frontend_conf"):
        if not isinstance(config.get(section), dict):
            raise SetupError(f"{file} should have a section {section}; {AGAIN}")
    frontend = config["frontend_conf"]
    for key, wanted in FRONTEND.items():
        if frontend.get(key) != wanted:
            raise SetupError(f"{file}: frontend_conf.{key} should be {wanted}, it is {frontend.get(key)}")
    dither = frontend.get("dither", 1.0)
    if not isinstance(dither, int | float) or dither < 0:
        raise SetupError(f"{file}: frontend_conf.dither should be a number from 0, it is {dither}")
    return config


def _sizes(encoder: Mapping[str, Any], file: Path) -> LinguisticSizes:
    keys = ("output_size", "attention_heads", "linear_units", "num_blocks", "kernel_size")
    for key in keys:
        if type(encoder.get(key)) is not int or encoder[key] < 1:
            raise SetupError(f"{file}: encoder_conf.{key} should be a count, it is {encoder.get(key)}")
    if encoder["output_size"] % encoder["attention_heads"]:
        raise SetupError(
            f"{file}: encoder_conf.output_size {encoder['output_size']} should be a multiple of "
            f"attention_heads {encoder['attention_heads']}"
        )
    if encoder["kernel_size"] % 2 == 0 or encoder.get("sanm_shfit", 0) != 0:
        raise SetupError(
            f"{file}: the encoder's convolution should be centred: kernel_size odd and sanm_shfit 0, "
            f"they are {encoder['kernel_size']} and {encoder.get('sanm_shfit')}"
        )
    width, heads, hidden, blocks, kernel = (encoder[key] for key in keys)
    return LinguisticSizes(FBANK_BINS * STACKED, width, heads, hidden, blocks, kernel)


def _normalisation(file: Path, width: int) -> tuple[Tensor, Tensor]:
    """AddShift and Rescale of a Kaldi nnet in text form, each float32 [width]."""
    text = file.read_text(errors="replace")
    found = []
    for tag in ("AddShift", "Rescale"):
        match = re.search(rf"<{tag}>[^\[\]]*<LearnRateCoef>\s*\S+\s*\[([^\[\]]*)\]", text)
        try:
            values = np.array(match[1].split(), np.float32) if match else np.zeros(0, np.float32)
        except ValueError as error:
            raise SetupError(f"{file}: <{tag}> holds what is no number: {error}; {AGAIN}") from error
        if values.shape != (width,) or not np.isfinite(values).all():
            raise SetupError(
                f"{file}: <{tag}> should hold {width} finite numbers, it holds {len(values)}; {AGAIN}"
            )
        found.append(torch.from_numpy(values))
    return found[0], found[1]


def _linguistic(file: Path, sizes: LinguisticSizes, config: Path) -> LinguisticEncoder:
    try:
        # Weights only: a pickle could run anything.
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise SetupError(
            f"{file} is damaged or holds more than weights ({type(error).__name__}: {reason}); {AGAIN}"
        ) from error
    if isinstance(weights, dict):
        weights = weights.get("state_dict", weights)
    if not isinstance(weights, dict):
        raise SetupError(f"{file} should hold a dict of weights, it holds a {type(weights).__name__}")
    named = {str(name).removeprefix("module."): weight for name, weight in weights.items()}
    encoder = {
        name.removeprefix("encoder."): weight for name, weight in named.items() if name.startswith("encoder.")
    }
    with torch.device("meta"):
        model = LinguisticEncoder(sizes)
    fill(model, encoder, file, f"the sizes in {config.name}")
    return model


def _semantic(file: Path) -> tuple[SemanticEncoder, Tensor]:
    weights, sizes = read_semantic(file, MEL_BINS)
    centres = weights.pop("codebook")
    if centres.shape[1] != sizes.width or not 1 <= len(centres) <= SEMANTIC_CODES:
        raise SetupError(
            f"{file}: the codebook should be at most {SEMANTIC_CODES} rows of {sizes.width} numbers, "
            f"it is {list(centres.shape)}"
        )
    with torch.device("meta"):
        model = SemanticEncoder(sizes)
    fill(model, weights, file, "the sizes of its first layers")
    return model, centres


def _centres(file: Path, width: int) -> Tensor:
    try:
        centres = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise SetupError(f"{file} is damaged or no array of numbers: {error}; {AGAIN}") from error
    if (
        not isinstance(centres, np.ndarray)
        or centres.dtype != np.float32
        or centres.ndim != 2
        or centres.shape[1] != width
        or not 1 <= len(centres) <= LINGUISTIC_CODES
    ):
        raise SetupError(
            f"{file} should be float32, at most {LINGUISTIC_CODES} rows of {width} numbers; "
            f"it is {getattr(centres, 'dtype', 'an archive')} {list(getattr(centres, 'shape', ()))}; {AGAIN}"
        )
    if not np.isfinite(centres).all():
        raise SetupError(f"{file} holds numbers that are not finite; {AGAIN}")
    return torch.from_numpy(centres)


def fill(model: torch.nn.Module, weights: Mapping[str, Tensor], file: Path, sizes: str) -> None:
    """Give a model its weights as float32. Raises SetupError where names, shapes or values are wrong."""
    wanted = model.state_dict()
    if missing := sorted(wanted.keys() - weights.keys()):
        raise SetupError(f"{file} lacks {_some(missing)}, which {sizes} ask for; {AGAIN}")
    if more := sorted(weights.keys() - wanted.keys()):
        raise SetupError(f"{file} holds {_some(more)} too, which {sizes} don't allow for; {AGAIN}")
    for name, parameter in wanted.items():
        found = weights[name]
        if not isinstance(found, Tensor) or found.shape != parameter.shape:
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise SetupError(
                f"{file}: {name} should be {list(parameter.shape)} by {sizes}, it is {shape}; {AGAIN}"
            )
        if not torch.isfinite(found).all():
            raise SetupError(f"{file}: {name} holds numbers that are not finite; {AGAIN}")
    model.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    model.requires_grad_(False).eval()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
