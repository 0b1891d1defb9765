"""The weights of the semantic encoder, from the ONNX graph in which it was published."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schemas.errors import SetupError
from stages.tokenize.step_audio.semantic import HEAD, SemanticSizes

DOWNLOAD_AGAIN = "download the checkpoint again with: aqaa-data models pull step-audio-tokenizer"


def read_semantic(file: Path, mels: int) -> tuple[dict[str, Tensor], SemanticSizes]:
    """Weights named as in `SemanticEncoder` plus `codebook` [codes, width], and the sizes of the encoder.

    Raises SetupError if the file is damaged or of another tokenizer.
    """
    graph = _graph(file)
    weights = {name: torch.from_numpy(array.copy()) for name, array in _named(graph).items()}
    for name in ("conv1.weight", "conv2.weight", "positions", "codebook"):
        if name not in weights:
            raise SetupError(f"{file} is not speech_tokenizer_v1: it has no {name}; {DOWNLOAD_AGAIN}")
    width, bins, _ = weights["conv1.weight"].shape
    if bins != mels:
        raise SetupError(f"{file}: the input should have {mels} mel bins, not {bins}")
    if width % HEAD:
        raise SetupError(f"{file}: the width of the encoder should be a multiple of {HEAD}, not {width}")
    if (strides := _strides(graph)) != [2, 2]:
        raise SetupError(
            f"{file}: the encoder should have two convolutions with strides [2, 2], for 25 codes per second, "
            f"not {strides}"
        )
    blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    return weights, SemanticSizes(bins, width, len(blocks), len(weights["positions"]))


def _graph(file: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(str(file), load_external_data=False).graph
    except (DecodeError, ValueError, OSError) as error:
        raise SetupError(f"{file} is damaged or not an ONNX file: {error}; {DOWNLOAD_AGAIN}") from error
    if not graph.node:
        raise SetupError(f"{file} is truncated: it contains no graph; {DOWNLOAD_AGAIN}")
    return graph


def _named(graph: Any) -> dict[str, np.ndarray]:
    """Arrays by the name of their parameter, which is found in the name of the node that uses the array."""
    from onnx.numpy_helper import to_array

    arrays = {tensor.name: tensor for tensor in graph.initializer}
    named: dict[str, np.ndarray] = {}
    for node in graph.node:
        for name in node.input:
            if name not in arrays:
                continue
            parameter = _parameter(node, name)
            if parameter is not None:
                array = to_array(arrays[name])
                # The graph computes x @ W, modules store the transpose. The codebook is transposed too.
                transposed = node.op_type == "MatMul" or parameter == "codebook"
                named[parameter] = array.T if transposed else array
    return named


def _parameter(node: Any, name: str) -> str | None:
    if name == "encoders.positional_embedding":
        return "positions"
    if name.startswith("encoders.conv"):
        return name.removeprefix("encoders.")
    if "_codebook" in node.name:
        return "codebook"
    if not node.name.startswith("/blocks."):
        return None
    layer, _, _ = node.name[1:].replace("mlp/mlp.", "mlp.").replace("/", ".").rpartition(".")
    match node.op_type:
        case "LayerNormalization":
            return f"{layer}.{'weight' if list(node.input).index(name) == 1 else 'bias'}"
        case "MatMul" | "Mul":
            return f"{layer}.weight"
        case "Add":
            return f"{layer}.bias"
    return None


def _strides(graph: Any) -> list[int]:
    return [
        attribute.ints[0]
        for node in graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "strides"
    ]
