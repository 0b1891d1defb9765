from collections.abc import Iterator

import pytest

from tests.faults.recipes import Few, build_undisturbed


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Few:
    """A few recordings, built without disturbance."""
    return build_undisturbed(tmp_path_factory.mktemp("few"))


@pytest.fixture
def open_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Disable Ray's authentication, so that the test can connect to the build's Ray."""
    from ray._raylet import Config

    with monkeypatch.context() as patched:
        patched.setenv("RAY_AUTH_MODE", "disabled")
        Config.initialize("")
        yield
    Config.initialize("")
