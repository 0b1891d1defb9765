"""`--voice`: the voice of a recording, for a released vocoder. It is made once, and kept beside it."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from schemas.errors import DataError, SetupError
from schemas.layout import merged
from stages.decode import DecodeConfig
from stages.decode.whole import read_whole
from stages.stage import Samples
from stages.tokenize.resample import to_16k
from stages.tokenize.tokenizer import Tokenizer

if TYPE_CHECKING:
    from stages.train.vocoder.voice_prompt import VoicePrompt, VoiceSource

KEPT = ".voice.npz"
"""Ending of a kept voice: `prompt.wav` has `prompt.wav.voice.npz`."""
SECONDS = (1.0, 30.0)
"""Shortest and longest recording of a voice."""


def open_voice(file: Path, vocoder: Path, tokenizer: Tokenizer, models: Mapping[str, str]) -> "VoicePrompt":
    """The voice of a recording, or of a file that was kept. `models` are those of the tokenizer, reference ->
    sha256; the network of speaker vectors is beside the released `vocoder`.

    Raises SetupError for a recording that can't be used, and for a voice of another tokenizer.
    """
    from stages.train.vocoder.voice_prompt import CAMPPLUS, VoicePrompt, VoiceSource

    if file.name.endswith(KEPT):
        voice = VoicePrompt.load(file)
        if set(voice.source.models.values()) != set(models.values()):
            raise SetupError(f"{file} has the codes of another tokenizer: name the recording that it is of")
        return voice
    network = vocoder / CAMPPLUS
    for needed in (file, network):
        if not needed.is_file():
            raise SetupError(
                f"{needed} does not exist: a voice needs a recording, and {CAMPPLUS} in {vocoder}"
            )
    source = VoiceSource(_sha256(file), _sha256(network), dict(models))
    kept = file.with_name(f"{file.name}{KEPT}")
    if kept.exists() and (voice := VoicePrompt.load(kept)).source == source:
        return voice
    voice = _voice(file, network, tokenizer, source)
    with suppress(OSError):  # such as a folder that can't be written to: it is made again next time
        voice.save(kept)
    return voice


def _voice(file: Path, network: Path, tokenizer: Tokenizer, source: "VoiceSource") -> "VoicePrompt":
    from stages.train.vocoder.voice_prompt import VoicePrompt, mel_of, speaker_vector

    try:
        samples, rate = read_whole(file, DecodeConfig())
    except (DataError, OSError) as error:
        raise SetupError(f"{file} can't be used as a voice: {error}") from None
    shortest, longest = SECONDS
    if not shortest <= len(samples) / rate <= longest:
        raise SetupError(
            f"{file} lasts {len(samples) / rate:.1f} s: a voice needs {shortest:g} to {longest:g} s of speech"
        )
    speech = to_16k(samples, rate)
    [codes] = tokenizer.encode([speech])
    tokens = merged(codes).astype(np.int32)
    if not len(tokens):
        raise SetupError(f"{file} can't be used as a voice: no speech is heard in it")
    return VoicePrompt(tokens, mel_of(_to_22k(samples, rate)), speaker_vector(speech, network), source)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _to_22k(samples: Samples, rate: int) -> Samples:
    import torch
    from torchaudio.functional import resample

    from stages.train.vocoder.shape import RATE

    resampled: Samples = resample(torch.from_numpy(samples), rate, RATE).numpy()
    return resampled
