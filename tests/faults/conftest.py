from collections.abc import Iterator

import pytest

from tests.faults.recipes import Few, undisturbed


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Few:
    return undisturbed(tmp_path_factory.mktemp("few"))


@pytest.fixture
def open_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the test join the Ray of the build that it watches, which asks for no token then."""
    from ray._raylet import Config

    with monkeypatch.context() as patched:
        patched.setenv("RAY_AUTH_MODE", "disabled")
        Config.initialize("")
        yield
    Config.initialize("")
