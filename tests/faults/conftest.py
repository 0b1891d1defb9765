import pytest

from tests.faults.recipes import Few, undisturbed


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Few:
    return undisturbed(tmp_path_factory.mktemp("few"))
