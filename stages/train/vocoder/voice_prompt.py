"""The voice that a released vocoder speaks with: tokens and mel of a recording, and its speaker vector.

A voice is kept as a file, so that its recording is read only once.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import SetupError
from stages.stage import SAMPLE_RATE, Samples
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.shape import MELS, SPEAKER, TOKENS

CAMPPLUS = "campplus.onnx"
"""Beside the vocoder: the network of speaker vectors."""
BANDS = 80
"""Of its input."""


@dataclass(frozen=True)
class VoiceSource:
    """What a voice was made from."""

    recording: str
    """sha256"""
    embedding: str
    """sha256 of the network of speaker vectors."""
    models: Mapping[str, str]
    """Of the tokenizer: reference -> sha256."""


@dataclass(frozen=True)
class VoicePrompt:
    tokens: NDArray[np.int32]
    """Numbers N of `<audio_N>`."""
    mel_MT: NDArray[np.float32]
    speaker: NDArray[np.float32]
    """[192]"""
    source: VoiceSource

    @property
    def options(self) -> dict[str, Any]:
        """For `Vocoder.speak`."""
        prompt = (self.tokens.tolist(), torch.from_numpy(self.mel_MT))
        return {"prompt": prompt, "speaker": self.speaker.tolist()}

    def save(self, file: Path) -> None:
        partial = file.with_name(f".{file.name}.partial.npz")
        source = json.dumps(asdict(self.source))
        np.savez(partial, tokens=self.tokens, mel=self.mel_MT, speaker=self.speaker, source=source)
        partial.rename(file)

    @classmethod
    def load(cls, file: Path) -> "VoicePrompt":
        """Raises SetupError for a file that is no voice."""
        try:
            with np.load(file, allow_pickle=False) as kept:
                voice = cls(
                    kept["tokens"].astype(np.int32),
                    kept["mel"].astype(np.float32),
                    kept["speaker"].astype(np.float32),
                    VoiceSource(**json.loads(str(kept["source"]))),
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise SetupError(f"{file} can't be read as a voice: {error}") from None
        valid = voice.tokens.ndim == 1 and voice.tokens.size and voice.tokens.min() >= 0
        valid = valid and voice.tokens.max() < TOKENS and voice.speaker.shape == (SPEAKER,)
        if not valid or voice.mel_MT.ndim != 2 or voice.mel_MT.shape[0] != MELS or not voice.mel_MT.size:
            raise SetupError(f"{file} is no voice: its tokens, mel or speaker vector have another form")
        return voice


def mel_of(samples: Samples) -> NDArray[np.float32]:
    """mel_MT of speech [n] at 22.05 kHz."""
    mel: NDArray[np.float32] = log_mel(torch.from_numpy(samples)[None])[0].numpy()
    return mel


def speaker_vector(samples: Samples, network: Path) -> NDArray[np.float32]:
    """The CAM++ vector [192] of speech [n] at 16 kHz, by an ONNX file. Raises SetupError for another one."""
    import onnxruntime
    from torchaudio.compliance import kaldi

    bands = kaldi.fbank(
        torch.from_numpy(samples)[None], num_mel_bins=BANDS, dither=0, sample_frequency=SAMPLE_RATE
    )
    bands = bands - bands.mean(0, keepdim=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
        [vector] = session.run(None, {session.get_inputs()[0].name: bands[None].numpy()})
    except Exception as error:  # the library has no common base of its errors
        reason = str(error).strip().split("\n", 1)[0]
        raise SetupError(f"{network} can't be run as the network of speaker vectors: {reason}") from None
    if np.size(vector) != SPEAKER:
        raise SetupError(f"{network} gives {np.size(vector)} numbers, not the {SPEAKER} of a speaker vector")
    return np.asarray(vector, np.float32).ravel()
