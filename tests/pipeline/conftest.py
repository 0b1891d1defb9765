import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.cli import main
from pipeline.versions.reader import Reference, Version, open_version
from schemas.vocabulary import Vocabulary
from tests.pipeline.spoken import spoken_version


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs `aqaa-data` with some arguments, in this process."""

    def run(*arguments: object) -> Done:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture(scope="session")
def version(small_build) -> Version:
    """The version of the small build."""
    return open_version(Reference.parse(str(small_build.dataset)))


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A small version with audio, words with times, preferences and rows of text."""
    return spoken_version(tmp_path_factory.mktemp("spoken"))


@pytest.fixture
def copy(small_build, tmp_path: Path) -> Path:
    """The dataset's versions and tags, to be changed."""
    dataset = tmp_path / small_build.dataset.name
    for folder in ("versions", "refs"):
        shutil.copytree(small_build.dataset / folder, dataset / folder)
    return Path(dataset)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> Path:
    """A checkpoint that can answer; tests must not change it."""
    import torch

    from tests.pipeline.tiny_models import write_checkpoint

    torch.set_num_threads(1)
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model", vocabulary)


@pytest.fixture(scope="session")
def vocoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny vocoder that can stream."""
    from tests.pipeline.tiny_models import write_vocoder

    return write_vocoder(tmp_path_factory.mktemp("vocoder") / "vocoder")
