from pathlib import Path

import pytest
import torch

from pipeline.versions.reader import Version
from stages.train.vocoder.shape import PRESETS
from stages.train.vocoder.vocoder import Vocoder, save
from tests.pipeline.evaluation.published import version_of


@pytest.fixture(scope="session")
def untaught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a vocoder of random weights, which speaks noise."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("untaught")
    save(Vocoder.of(PRESETS["tiny"]), folder)
    return folder


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version that keeps audio: one turn, which stands in two samples."""
    return version_of(tmp_path_factory.mktemp("kept") / "data", keep_audio=True)


@pytest.fixture(scope="session")
def codes_alone(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version without audio, of twelve recordings with four turns each."""
    return version_of(tmp_path_factory.mktemp("codes") / "data", keep_audio=False, recordings=12, turns=4)
