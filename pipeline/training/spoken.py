"""What a vocoder with the preset `voice` learns from: sentences that the voice speaks, with the codes of a
version's tokenizer."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.models import resolve
from pipeline.training.display import PlainLines
from pipeline.versions.provenance import codes_of
from pipeline.versions.reader import Version
from schemas.errors import SetupError
from schemas.layout import merged
from stages.stage import Samples
from stages.tokenize import TokenizeConfig, load_tokenizer
from stages.tokenize.tokenizer import Tokenizer
from stages.train.vocoder.config import VocoderTrainConfig
from stages.train.vocoder.shape import PRESETS, VoiceShape

DONE = "done.json"
"""File that says that all sentences are spoken, and what their codes are."""


def voice_of(config: VocoderTrainConfig) -> VoiceShape | None:
    """The voice whose latents a preset learns, if any."""
    wave = PRESETS[config.preset].wave
    return wave if isinstance(wave, VoiceShape) else None


def factors_of(folder: Path) -> tuple[int, ...]:
    """Sizes of the factors of the semantic codes in a folder of spoken sentences."""
    return tuple(json.loads((folder / DONE).read_text())["semantic_factors"])


def speech_folder(config: VocoderTrainConfig, sentences: str, version: Version, run: Path) -> Path:
    """The folder with the spoken sentences of a file. They are spoken if that hasn't been done, or goes on
    where it stopped.

    Raises SetupError: no sentences, espeak-ng is missing, or the tokenizer of the version is not here.
    """
    from stages.train.vocoder.spoken import speak_sentences

    voice = voice_of(config)
    assert voice is not None
    lines = _sentences(Path(sentences))
    models = codes_of(version.manifest)["models"]
    # Another folder for other sentences, codes or draws.
    made_of = json.dumps([lines, sorted(models.items()), voice.sha256, config.seed]).encode()
    folder = run / f"speech-{hashlib.sha256(made_of).hexdigest()[:12]}"
    if (folder / DONE).exists():
        return folder
    if "RANK" in os.environ:
        raise SetupError(
            "the sentences are not spoken yet, and torchrun's processes can't share that: start the training "
            "once without torchrun, and with it as soon as the first step is printed"
        )
    tokenizer = _tokenizer(version)
    progress = PlainLines()

    def encode(batch: Sequence[Samples]) -> list[NDArray[np.int32]]:
        return [merged(codes).astype(np.int32) for codes in tokenizer.encode(batch)]

    def print_progress(number: int) -> None:
        if progress.due(is_last=number + 1 == len(lines)):
            print(f"spoken {number + 1:,}/{len(lines):,} sentences", file=sys.stderr, flush=True)

    path = resolve(voice.voice).path
    speak_sentences(lines, path, voice, encode, folder, config.seed, print_progress)
    (folder / DONE).write_text(json.dumps({"semantic_factors": tokenizer.semantic_factors}))
    return folder


def _sentences(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"the sentences of vocoder.sentences can't be read: {error}") from None
    lines = [" ".join(line.split()) for line in lines if any(character.isalnum() for character in line)]
    if not lines:
        raise SetupError(f"{file} has no sentences: write one per line")
    return lines


def _tokenizer(version: Version) -> Tokenizer:
    codes = codes_of(version.manifest)
    config = TokenizeConfig.model_validate(codes["tokenize"])
    models = {name: resolve(name) for name in config.models}
    for name, model in models.items():
        if model.sha256 != codes["models"].get(name, model.sha256):
            raise SetupError(
                f"{version.manifest.dataset}@{version.id} was tokenized with another {name} "
                f"({codes['models'][name][:12]}, here {model.sha256[:12]}): build it again"
            )
    return load_tokenizer(config, {name: model.path for name, model in models.items()})
