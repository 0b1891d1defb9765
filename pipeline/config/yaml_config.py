"""Settings that stand in a YAML file: read, overridden by `--set`, and checked.

A mistake is told with its file and line (or its `--set`) and the nearest valid name.
"""

import difflib
import json
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from schemas.errors import SetupError

KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Written:
    """What a file says, not checked yet."""

    file: Path
    values: dict[str, Any]
    places: dict[KeyPath, str]
    """Key -> where it stands."""

    def checked(self, model: type[Model]) -> Model:
        """Raises SetupError with a line for each mistake."""
        try:
            return model.model_validate(self.values)
        except ValidationError as error:
            raise SetupError("\n".join(self._explained(model, e) for e in error.errors())) from error

    def _explained(self, model: type[BaseModel], error: Any) -> str:
        """One validation error as a sentence with its place."""
        path: KeyPath = error["loc"]
        places = self.places
        place = next(
            (places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in places), str(self.file)
        )
        name = _dotted(path)
        if error["type"] == "extra_forbidden":
            known = _fields(model, path[:-1])
            near = difflib.get_close_matches(str(path[-1]), known, 1, cutoff=0.5)
            hint = f"did you mean `{near[0]}`?" if near else f"valid here: {', '.join(known)}"
            return f"{place}: unknown key `{name}`; {hint}"
        if error["type"] == "missing":
            return f"{place}: `{name}` is missing"
        message = error["msg"][0].lower() + error["msg"][1:]
        said = f", not {json.dumps(error['input'], default=str, ensure_ascii=False)}"
        return f"{place}: `{name}`: {message}{said}"


def read(path: str | Path, settings: Sequence[str] = ()) -> Written:
    """A file's values with `settings`, `a.b=value` each, over them. Raises SetupError."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(f"can't read recipe {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"recipe {file} is no UTF-8 text") from error
    written = _parse(file, text)
    for setting in settings:
        _set(written, setting)
    return written


def beside(file: Path, uri: str) -> str:
    """A place named in a recipe, as seen from the recipe's directory."""
    return uri if "://" in uri else str(file.parent / Path(uri).expanduser())


def _parse(file: Path, text: str) -> Written:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise SetupError(f"{where}: {error.problem or error}") from error
    if not isinstance(root, yaml.MappingNode):
        raise SetupError(f"{file}: a recipe is a mapping of `key: value` lines, such as `name: my-dataset`")
    places: dict[KeyPath, str] = {}
    _find(file, root, (), places)
    return Written(file, values, places)


def _find(file: Path, node: yaml.Node, path: KeyPath, places: dict[KeyPath, str]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, key.value)
            if inner in places:
                raise SetupError(f"{file}:{key.start_mark.line + 1}: `{_dotted(inner)}` stands twice")
            places[inner] = f"{file}:{key.start_mark.line + 1}"
            _find(file, value, inner, places)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            places[(*path, index)] = f"{file}:{item.start_mark.line + 1}"
            _find(file, item, (*path, index), places)


def _set(written: Written, setting: str) -> None:
    dotted, equals, text = setting.partition("=")
    if not equals or not dotted:
        raise SetupError(f"--set {setting}: write it as key.key=value, such as select.dnsmos_overall=2.5")
    *parents, last = dotted.split(".")
    section: Any = written.values
    for parent in parents:
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
        if not isinstance(section, dict):
            raise SetupError(f"--set {setting}: {parent} holds a single value, not a section")
    try:
        section[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SetupError(f"--set {setting}: {text} is no YAML value") from error
    written.places[(*parents, last)] = f"--set {setting}"


def _fields(model: Any, path: KeyPath) -> list[str]:
    """Names of the keys that the section at a path may have."""
    for key in path:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or key not in model.model_fields:
            return []
        model = _plain(model.model_fields[key].annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _plain(hint: Any) -> Any:
    """X of `X | None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(key) for key in path)
