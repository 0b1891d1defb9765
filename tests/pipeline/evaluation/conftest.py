from pathlib import Path

import pytest
import torch

from pipeline.versions.reader import Version
from stages.train.vocoder.shape import PRESETS, VocoderShape
from stages.train.vocoder.vocoder import Vocoder, save
from tests.pipeline.evaluation.published import version_of
from tests.stages.train.vocoder.small_shapes import LITTLE_VOICE


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a vocoder with random weights, whose output is noise."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("untrained")
    save(Vocoder.of(PRESETS["tiny"]), folder)
    return folder


@pytest.fixture(scope="session")
def untrained_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with the generator of a voice."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("voice")
    save(Vocoder.of(VocoderShape(LITTLE_VOICE, PRESETS["voice"].wave)), folder)
    return folder


@pytest.fixture(scope="session")
def with_audio(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version that keeps audio: one turn, which is in two samples."""
    return version_of(tmp_path_factory.mktemp("audio") / "data", keep_audio=True)


@pytest.fixture(scope="session")
def codes_only(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version without audio: twelve recordings with four turns each."""
    return version_of(tmp_path_factory.mktemp("codes") / "data", keep_audio=False, recordings=12, turns=4)
