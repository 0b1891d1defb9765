"""A version to train on, and the whole chain trained on it once."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.pipeline.training.chains import Trained, dataset, write_recipe


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained once per test session; tests must not write into it."""
    folder = tmp_path_factory.mktemp("training")
    dataset(folder)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main(["train", str(write_recipe(folder)), "--json"])
    return Trained(folder, json.loads(out.getvalue()))


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same version again, for tests that train on it."""
    return dataset(tmp_path_factory.mktemp("given"))


@pytest.fixture
def untrained(given: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe for `given` of which no stage is trained."""

    def make(**changes: object) -> Path:
        return write_recipe(tmp_path, **{"dataset": str(given), **changes})

    return make
