"""Settings from a YAML file: parsed, overridden by `--set`, and validated.

Every mistake is reported with its file and line (or its `--set`) and the nearest valid name.
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

EXAMPLE = "name=calls"
"""A `--set` that is valid in every recipe."""

_SIMILAR = 0.6
"""Similarity of two names, of 1, from which one is suggested for the other."""


@dataclass(frozen=True)
class YamlSettings:
    """The contents of a file, not validated yet."""

    file: Path
    values: dict[str, Any]
    locations: dict[KeyPath, str]
    """Key -> `file:line`, or the `--set` that sets it."""

    def validated(self, model: type[Model]) -> Model:
        """Raises SetupError with a line for each mistake."""
        try:
            return model.model_validate(self.values)
        except ValidationError as error:
            raise SetupError("\n".join(self._explained(model, e) for e in _causes(error.errors()))) from error

    def location_of(self, path: KeyPath) -> str:
        """Where a key is set; for a key that the file doesn't have, where its section is."""
        locations = (self.locations.get(path[:n]) for n in range(len(path), 0, -1))
        return next((location for location in locations if location is not None), str(self.file))

    def _explained(self, model: type[BaseModel], error: Any) -> str:
        """One validation error as a sentence with its location."""
        path: KeyPath = error["loc"]
        location = self.location_of(path)
        name = _dotted(path)
        if error["type"] == "extra_forbidden":
            valid = _fields(model, path[:-1])
            similar = most_similar(str(path[-1]), valid)
            hint = f"did you mean `{similar}`?" if similar else f"valid here: {', '.join(valid)}"
            return f"{location}: unknown key `{name}`; {hint}"
        if error["type"] == "missing":
            return f"{location}: `{name}` is missing"
        if not path:  # of the whole recipe, which would be all of the message
            return f"{location}: {error['msg'].removeprefix('Value error, ')}"
        message = error["msg"][0].lower() + error["msg"][1:]
        return f"{location}: `{name}`: {message}, not {_as_json(error['input'])}"


def read_yaml(
    path: str | Path, settings: Sequence[str] = (), renamed: Mapping[str, str] | None = None
) -> YamlSettings:
    """A file's values, overridden by `settings`, `a.b=value` each. Raises SetupError.

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
        line = error.object[: error.start].count(b"\n") + 1
        raise SetupError(f"{file}:{line}: the recipe is not valid UTF-8") from error
    renamed = renamed or {}
    parsed = _with_current_names(_parse(file, text), renamed)
    for setting in settings:
        _set(parsed, setting, renamed)
    return parsed


def beside(file: Path, uri: str) -> str:
    """A path or URI in a recipe; a relative path is relative to the recipe's directory."""
    return uri if "://" in uri else str(file.parent / Path(uri).expanduser())


def most_similar(wrong: str, valid: Iterable[str]) -> str | None:
    """The name that was probably meant, judged by its letters and by its parts between underscores."""
    score, name = max(((_similarity(wrong, name), name) for name in valid), default=(0.0, ""))
    return name if score >= _SIMILAR else None


def _similarity(wrong: str, name: str) -> float:
    """From 0 to 1. Shared parts count: `dnsmos_min` is rather `dnsmos_overall_min` than `loudness_min`."""
    letters = difflib.SequenceMatcher(None, wrong, name).ratio()
    parts = wrong.split("_")
    shared = sum(bool(difflib.get_close_matches(part, name.split("_"), 1, cutoff=0.75)) for part in parts)
    return max(letters, (letters + shared / len(parts)) / 2) if len(parts) > 1 else letters


class _Loader(yaml.SafeLoader):
    """YAML without dates, which no setting is: `name: 2024-01-31` is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (that of the base class is no ClassVar)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node. Raises ConstructorError with its line, also for `!!int many` and the like."""
        try:
            return super().construct_object(node, deep)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError) as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error


def _parse(file: Path, text: str) -> YamlSettings:
    values = _load(str(file), text)
    root = yaml.compose(text, Loader=_Loader)  # anew: the values of `<<` were merged into the first one
    if not isinstance(root, yaml.MappingNode):
        raise SetupError(f"{file}: a recipe is a mapping of `key: value` lines, such as `name: my-dataset`")
    locations: dict[KeyPath, str] = {}
    _locate(file, root, (), locations)
    return YamlSettings(file, values, locations)


def _load(source: str, text: str) -> Any:
    """The value of a text. Raises SetupError that begins with its location in `source`, a file or a --set."""
    try:
        _refuse_cycles(source, yaml.compose(text, Loader=_Loader), ())
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise SetupError(_yaml_error(source, error)) from error
    except yaml.reader.ReaderError as error:
        location = _at(source, text.count("\n", 0, error.position))
        character = f"U+{ord(text[error.position]):04X}"
        raise SetupError(f"{location}: the character {character} is not allowed here: remove it") from error
    except RecursionError as error:
        raise SetupError(f"{source}: lists and mappings are nested too deeply") from error


def _yaml_error(source: str, error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or str(error)
    start, end = error.context_mark, error.problem_mark
    unclosed = (error.context or "").startswith(("while parsing a flow", "while scanning a quoted"))
    if unclosed and start and end:
        # The parser notices it lines later, often only at the end of the file.
        opening = (start.buffer or "[")[start.pointer] if start.buffer else "["
        return f"{_at(source, start.line)}: `{opening}` is not closed: {problem} in line {end.line + 1}"
    mark = end or start
    return f"{_at(source, mark.line) if mark else source}: {problem}"


def _at(source: str, line: int) -> str:
    """`file:line`, the line counted from 0; a --set has only one."""
    return source if source.startswith("--set ") else f"{source}:{line + 1}"


def _refuse_cycles(source: str, node: yaml.Node | None, parents: tuple[yaml.Node, ...]) -> None:
    if any(node is parent for parent in parents):
        location = _at(source, parents[-1].start_mark.line)
        raise SetupError(f"{location}: an alias (`*name`) refers to the value that contains it")
    if isinstance(node, yaml.CollectionNode):
        for item in node.value:
            for child in item if isinstance(item, tuple) else (item,):
                _refuse_cycles(source, child, (*parents, node))


def _locate(file: Path, node: yaml.Node, path: KeyPath, locations: dict[KeyPath, str]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            location = f"{file}:{key.start_mark.line + 1}"
            inner = (*path, key.value)
            if inner in locations:
                raise SetupError(f"{location}: `{_dotted(inner)}` is set twice")
            locations[inner] = location
            _locate(file, value, inner, locations)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            locations[(*path, index)] = f"{file}:{item.start_mark.line + 1}"
            _locate(file, item, (*path, index), locations)


def _with_current_names(parsed: YamlSettings, renamed: Mapping[str, str]) -> YamlSettings:
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
                locations = [parsed.location_of((*path, each)) for each in (written_as[name], key)]
                old = _dotted((*path, key if key != name else written_as[name]))
                raise SetupError(
                    f"{' and '.join(locations)}: `{old}` is the old name of `{_dotted(new_path)}`, and both "
                    "are set: remove one of them"
                )
            if key != name:
                _warn_of_old_name(parsed.location_of((*path, key)), (*path, key), new_path)
            found[name], written_as[name] = current(inner, (*path, key)), key
        return found

    if not renamed:
        return parsed
    values = current(parsed.values, ())
    locations = {_current_path(path, renamed): location for path, location in parsed.locations.items()}
    return YamlSettings(parsed.file, values, locations)


def _current_path(path: KeyPath, renamed: Mapping[str, str]) -> KeyPath:
    """A key's path with the new name of each key in it."""
    current: KeyPath = ()
    for key in path:
        section = [name for name in current if isinstance(name, str)]
        current = (*current, renamed.get(_dotted((*section, key)), key))
    return current


def _warn_of_old_name(location: str, old: KeyPath, new: KeyPath) -> None:
    # Under torchrun every process reads the recipe: one warning is enough.
    if os.environ.get("RANK", "0") == "0":
        print(
            f"{location}: `{_dotted(old)}` is now called `{_dotted(new)}`; the old name works until the next "
            "release",
            file=sys.stderr,
            flush=True,
        )


def _set(parsed: YamlSettings, setting: str, renamed: Mapping[str, str]) -> None:
    dotted, equals, text = setting.partition("=")
    if not equals or not dotted:
        raise SetupError(f"--set {setting}: write it as key=value or section.key=value, such as {EXAMPLE}")
    path = tuple(dotted.split("."))
    current = tuple(map(str, _current_path(path, renamed)))
    if path != current:
        _warn_of_old_name(f"--set {setting}", path, current)
    *parents, last = current
    section: Any = parsed.values
    for parent in parents:
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
        if not isinstance(section, dict):
            raise SetupError(f"--set {setting}: {parent} holds a single value, not a section")
    section[last] = _load(f"--set {setting}", text)
    for replaced in [path for path in parsed.locations if path[: len(current)] == current]:
        del parsed.locations[replaced]
    parsed.locations[(*parents, last)] = f"--set {setting}"


def _causes(errors: Sequence[Any]) -> list[Any]:
    """Without those of lists that are too short for their wrong items, which don't count."""

    def has_wrong_item(path: KeyPath) -> bool:
        return any(len(each["loc"]) > len(path) and each["loc"][: len(path)] == path for each in errors)

    return [each for each in errors if each["type"] != "too_short" or not has_wrong_item(each["loc"])]


def _fields(model: Any, path: KeyPath) -> list[str]:
    """The valid keys of the section at a path."""
    for key in path:
        if isinstance(key, int) and typing.get_origin(model) in (list, tuple):
            model = typing.get_args(model)[0]
            continue
        if typing.get_origin(model) is dict:
            model = typing.get_args(model)[1]
            continue
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or key not in model.model_fields:
            return []
        model = _plain(model.model_fields[key].annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _plain(hint: Any) -> Any:
    """X of `X | None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError):  # keys that JSON doesn't have
        return str(value)


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(key) for key in path)
