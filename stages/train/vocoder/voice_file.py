"""A piper voice, read from its .onnx file: the weights of its generator, and the model that speaks latents.

The voice is a VITS: phonemes -> latents, 192 channels per frame of 256 samples -> generator -> waveform.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import SetupError

DECODER = "dec."
"""Prefix of the generator's tensors."""
FIRST = "dec.conv_pre.weight"
"""The tensor of the layer that reads the latents."""


def voice_file(voice: Path) -> Path:
    """The .onnx file of a voice, which is a file or a folder. Raises SetupError without exactly one."""
    files = [voice] if voice.is_file() else sorted(voice.glob("*.onnx"))
    if len(files) != 1:
        raise SetupError(f"{voice} must be, or contain, exactly one .onnx file of a piper voice")
    return files[0]


def generator_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of the voice's generator by name. Raises SetupError if the file has none."""
    from onnx.numpy_helper import to_array

    tensors = {tensor.name: tensor for tensor in _model(file).graph.initializer}
    named = {name: tensor for name, tensor in tensors.items() if name.startswith(DECODER)}
    if FIRST not in named:
        raise SetupError(f"{file} is not a piper voice: it has no tensor {FIRST}")
    return {
        name.removeprefix(DECODER): torch.from_numpy(to_array(tensor).astype(np.float32))
        for name, tensor in named.items()
    }


class SpokenPhonemes:
    """The part of a voice before its generator, on one core."""

    def __init__(self, file: Path) -> None:
        """Raises SetupError for a file that is not a voice, or that lacks the .json file beside it."""
        import onnx
        import onnxruntime

        model = _model(file)
        [latents] = [node.input[0] for node in model.graph.node if FIRST in node.input] or [None]
        if latents is None:
            raise SetupError(f"{file} is not a piper voice: nothing in it uses {FIRST}")
        # In place of the waveform, so that the generator doesn't run.
        del model.graph.output[:]
        model.graph.output.append(onnx.ValueInfoProto(name=latents))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Drawn durations and latents follow from this seed and the number of calls before.
        onnxruntime.set_seed(0)
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._latents = latents
        try:
            settings = json.loads(file.with_name(f"{file.name}.json").read_text())
            self._ids: dict[str, list[int]] = settings["phoneme_id_map"]
            self.language: str = settings["espeak"]["voice"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(f"{file} has no usable settings in {file.name}.json: {error}") from None

    def latents(self, phonemes: str, noise: float, pace: float, rhythm: float) -> NDArray[np.float32]:
        """[192, frames] of phonemes (IPA, as espeak-ng writes it) with punctuation.

        `noise` and `rhythm` scale what is drawn of the latents and of the durations (0 is always the same);
        `pace` multiplies the durations.
        """
        ids = [*self._ids["^"], *self._ids["_"]]
        for phoneme in phonemes:
            if phoneme in self._ids:
                ids += [*self._ids[phoneme], *self._ids["_"]]
        ids += self._ids["$"]
        feed = {
            "input": np.array([ids]),
            "input_lengths": np.array([len(ids)]),
            "scales": np.array([noise, pace, rhythm], np.float32),
        }
        latents: Sequence[Any] = self._session.run([self._latents], feed)
        return np.asarray(latents[0][0], np.float32)


def _model(file: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(str(file), load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise SetupError(f"{file} is damaged or not an ONNX file: {error}") from None
