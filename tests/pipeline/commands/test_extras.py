"""A command whose optional packages are missing says which extra to install, before it starts anything."""

import sys
import tomllib

import pytest

from pipeline import cli
from pipeline.commands import extras
from pipeline.commands.extras import EXTRAS, missing_extra, require_extra
from schemas.errors import SetupError
from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("extra", EXTRAS)
def test_modules_of_an_extra_are_installed_by_it_and_not_by_the_base(extra):
    wanted = PROJECT["optional-dependencies"][extra]
    for module in EXTRAS[extra]:
        distribution = module.replace("_", "-")
        assert any(requirement.startswith(distribution) for requirement in wanted)
        assert not any(requirement.startswith(distribution) for requirement in PROJECT["dependencies"])


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("train", ["train", "recipe.yaml"]),
        ("serve", ["serve", "--checkpoint", "model"]),
        ("browse", ["browse", "datasets/demo"]),
    ],
)
def test_a_command_without_its_extra_says_what_to_install(monkeypatch, capsys, extra, arguments):
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 1
    assert f"pip install 'aqaa-data[{extra}]'" in capsys.readouterr().err


def test_a_server_says_that_its_numbers_need_the_extra(monkeypatch):
    """As where `serve` was installed before it had them."""
    monkeypatch.setattr(extras, "find_spec", lambda module: None if module == "prometheus_client" else True)
    with pytest.raises(SetupError, match="prometheus_client is not installed"):
        require_extra("serve")


def test_an_extra_that_is_installed_is_accepted():
    for extra in EXTRAS:
        require_extra(extra)


def test_an_import_deep_inside_a_command_is_explained_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError) as failed:
        import transformers  # noqa: F401
    assert isinstance(missing_extra(failed.value), SetupError)


def test_any_other_missing_module_is_a_defect_and_stays_one():
    assert missing_extra(ModuleNotFoundError("no", name="stages.nothing")) is None
