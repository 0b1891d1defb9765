from pathlib import Path

import pytest

from pipeline.inputs.spooled_audio import SpooledAudio
from stages.decode.config import DecodeConfig


@pytest.fixture
def audio_source(tmp_path: Path) -> SpooledAudio:
    """An AudioSource over local files, with its spool in a temporary directory."""
    return SpooledAudio(tmp_path / "audio", DecodeConfig(), "test")
