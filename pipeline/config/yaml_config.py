"""Settings that stand in a YAML file: read, overridden by `--set`, and checked.

A mistake is told with its file and line (or its `--set`) and the nearest valid name.
"""

import difflib
import json
import os
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
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

    def place_of(self, path: KeyPath) -> str:
        """Where a key is set; for one that the file doesn't have, where its section is."""
        places = (self.places.get(path[:n]) for n in range(len(path), 0, -1))
        return next((place for place in places if place is not None), str(self.file))

    def _explained(self, model: type[BaseModel], error: Any) -> str:
        """One validation error as a sentence with its place."""
        path: KeyPath = error["loc"]
        place = self.place_of(path)
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


def read(path: str | Path, settings: Sequence[str] = (), renamed: Mapping[str, str] | None = None) -> Written:
    """A file's values with `settings`, `a.b=value` each, over them. Raises SetupError.

    `renamed` maps the dotted path of a key's old name to its new name within the same section, such as
    `{"resources.assess": "quality"}`. An old name still works in the file and in `settings`, with a warning
    on stderr; a file with both names is refused. Positions in lists don't count: `pretrain.clip` also
    matches each item of a list `pretrain`.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(f"can't read recipe {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"recipe {file} is no UTF-8 text") from error
    renamed = renamed or {}
    written = _with_current_names(_parse(file, text), renamed)
    for setting in settings:
        _set(written, setting, renamed)
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


def _with_current_names(written: Written, renamed: Mapping[str, str]) -> Written:
    """The same settings under the new names of their keys. Warns of each old name, and raises SetupError
    where the old and the new name of a key are both there."""

    def current(value: Any, path: KeyPath) -> Any:
        if isinstance(value, list):
            return [current(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        found: dict[Any, Any] = {}
        written_as: dict[Any, Any] = {}
        for key, inner in value.items():
            new_path = _current_path((*path, key), renamed)
            name = new_path[-1]
            if name in found:
                places = [written.place_of((*path, each)) for each in (written_as[name], key)]
                old = _dotted((*path, key if key != name else written_as[name]))
                raise SetupError(
                    f"{' and '.join(places)}: `{old}` is the old name of `{_dotted(new_path)}`, and both are "
                    "set: remove one of them"
                )
            if key != name:
                _warn_of_old_name(written.place_of((*path, key)), (*path, key), new_path)
            found[name], written_as[name] = current(inner, (*path, key)), key
        return found

    if not renamed:
        return written
    values = current(written.values, ())
    places = {_current_path(path, renamed): place for path, place in written.places.items()}
    return Written(written.file, values, places)


def _current_path(path: KeyPath, renamed: Mapping[str, str]) -> KeyPath:
    """A key's path with the new name of each key in it."""
    current: KeyPath = ()
    for key in path:
        section = [name for name in current if isinstance(name, str)]
        current = (*current, renamed.get(_dotted((*section, key)), key))
    return current


def _warn_of_old_name(place: str, old: KeyPath, new: KeyPath) -> None:
    # Under torchrun every process reads the recipe: one warning is enough.
    if os.environ.get("RANK", "0") == "0":
        print(
            f"{place}: `{_dotted(old)}` is now called `{_dotted(new)}`; the old name works until the next "
            "release",
            file=sys.stderr,
            flush=True,
        )


def _set(written: Written, setting: str, renamed: Mapping[str, str]) -> None:
    dotted, equals, text = setting.partition("=")
    if not equals or not dotted:
        raise SetupError(f"--set {setting}: write it as key.key=value, such as select.dnsmos_overall=2.5")
    path = tuple(dotted.split("."))
    current = tuple(map(str, _current_path(path, renamed)))
    if path != current:
        _warn_of_old_name(f"--set {setting}", path, current)
    *parents, last = current
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
