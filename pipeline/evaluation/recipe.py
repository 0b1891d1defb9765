"""A recipe of `evaluate`: a name, and the options of one of its commands in a section named after it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.yaml_config import YamlSettings, most_similar, read_yaml
from schemas.errors import SetupError

COMMANDS = ("answers", "tokens")


@dataclass(frozen=True)
class EvaluationRecipe:
    name: str
    command: str
    """Of `evaluate`: one of `COMMANDS`."""
    options: dict[str, Any]
    """As the command has them, which checks their values."""

    def as_yaml(self) -> dict[str, Any]:
        return {"name": self.name, self.command: self.options}


def command_of(path: str) -> str | None:
    """The command of `evaluate` that a recipe is for; None for a recipe of something else. Raises SetupError
    for a file that isn't a recipe."""
    values = read_yaml(path).values
    return next((command for command in COMMANDS if command in values), None)


def load(path: str, command: str, options: Collection[str], settings: Sequence[str] = ()) -> EvaluationRecipe:
    """Read a recipe; `options` are the names that the command has. Raises SetupError for other keys."""
    found = read_yaml(path, settings)
    name, section = (found.values.get(key) for key in ("name", command))
    if not isinstance(name, str) or not isinstance(section, dict):
        raise SetupError(
            f"{path}: a recipe of `evaluate {command}` has a `name`, and its options under `{command}`"
        )
    _refuse_unknown(found, (), found.values, ("name", command))
    _refuse_unknown(found, (command,), section, options)
    return EvaluationRecipe(name, command, section)


def _refuse_unknown(
    found: YamlSettings, path: tuple[str, ...], values: dict[str, Any], known: Collection[str]
) -> None:
    for key in values:
        if key not in known:
            similar = most_similar(str(key), known)
            hint = f"did you mean `{similar}`?" if similar else f"valid here: {', '.join(known)}"
            dotted = ".".join((*path, str(key)))
            raise SetupError(f"{found.location_of((*path, key))}: unknown key `{dotted}`; {hint}")
