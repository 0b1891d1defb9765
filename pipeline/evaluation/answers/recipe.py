"""A recipe of `evaluate answers`: a name, and the command's options as keys of the section `answers`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.yaml_config import YamlSettings, most_similar, read_yaml
from schemas.errors import SetupError

SECTION = "answers"
_KEYS = ("name", SECTION)


@dataclass(frozen=True)
class AnswersRecipe:
    name: str
    options: dict[str, Any]
    """As `evaluate answers` has them, which checks their values."""

    def as_yaml(self) -> dict[str, Any]:
        return {"name": self.name, SECTION: self.options}


def is_answers_recipe(path: str) -> bool:
    """Raises SetupError for a file that isn't a recipe."""
    return SECTION in read_yaml(path).values


def load(path: str, options: Collection[str], settings: Sequence[str] = ()) -> AnswersRecipe:
    """Read a recipe; `options` are the names that the command has. Raises SetupError for other keys."""
    found = read_yaml(path, settings)
    name, section = (found.values.get(key) for key in _KEYS)
    if not isinstance(name, str) or not isinstance(section, dict):
        raise SetupError(
            f"{path}: a recipe of `evaluate answers` has a `name`, and its options under `{SECTION}`"
        )
    _refuse_unknown(found, (), found.values, _KEYS)
    _refuse_unknown(found, (SECTION,), section, options)
    return AnswersRecipe(name, section)


def _refuse_unknown(
    found: YamlSettings, path: tuple[str, ...], values: dict[str, Any], known: Collection[str]
) -> None:
    for key in values:
        if key not in known:
            similar = most_similar(str(key), known)
            hint = f"did you mean `{similar}`?" if similar else f"valid here: {', '.join(known)}"
            dotted = ".".join((*path, str(key)))
            raise SetupError(f"{found.location_of((*path, key))}: unknown key `{dotted}`; {hint}")
