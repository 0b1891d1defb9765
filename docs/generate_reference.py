"""MkDocs hook that generates the reference pages from the code: recipe keys from the pydantic fields and
their descriptions, commands from their --help."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.cli import root
from pipeline.config.recipe import Recipe
from pipeline.training.recipe import TrainingRecipe
from pipeline.training.vocoder import VocoderRecipe

LONGEST_DEFAULT = 60
"""Characters; a longer default is a table of its own in the code."""

_INTROS = {
    "recipe": (
        "Build recipe",
        "Every key of the recipes that `aqaa-data build` reads. [Recipes](../recipes.md) explains them by "
        "example. `aqaa-data recipe schema` writes the same as JSON Schema, for editors.",
        Recipe,
    ),
    "training": (
        "Training recipe",
        "Every key of the recipes that `aqaa-data train` reads. [Training](../training.md) explains them by "
        "example. `aqaa-data recipe schema --training` writes the same as JSON Schema, for editors.",
        TrainingRecipe,
    ),
    "vocoder": (
        "Vocoder recipe",
        "Every key of the recipes that train a vocoder with `aqaa-data train`. [Vocoder](../vocoder.md) "
        "explains them by example. `aqaa-data recipe schema --vocoder` writes the same as JSON Schema, for "
        "editors.",
        VocoderRecipe,
    ),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages. Called by MkDocs."""
    for name, (title, intro, model) in _INTROS.items():
        page = f"# {title}\n\n{intro}\n\n" + "\n".join(recipe_sections(model, "", "Top level"))
        files.append(File.generated(config, f"reference/{name}.md", content=page))
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    return files


def recipe_sections(model: type[BaseModel], path: str, title: str) -> Iterator[str]:
    """A table of a model's own keys, and after it a section for each nested model."""
    yield f"## {title}\n"
    if path and model.__doc__ and model.__doc__ != BaseModel.__doc__:
        yield f"{_text(model.__doc__)}\n"
    yield "| key | type | default | |\n| --- | --- | --- | --- |"
    nested: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        key = f"{path}.{name}" if path else name
        description = _text(field.description or "")
        if inner is not None:
            nested.append((key, inner))
            link = f"see [`{key}`](#{_anchor(key)})"
            description = f"{description}; {link}" if description else link
        yield f"| `{name}` | {_cell(_type_of(field))} | {_cell(_default_of(field))} | {_cell(description)} |"
    yield ""
    for key, inner in nested:
        yield from recipe_sections(inner, key, f"`{key}` {{ #{_anchor(key)} }}")


def commands_page() -> str:
    """All commands with their help texts."""
    parts = [
        "# Commands\n\nExit code 0: done, 1: failed with one message, 2: wrong usage. Results go to stdout,"
    ]
    parts.append("progress and logs to stderr.\n")
    for path, command in commands(root, "aqaa-data"):
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
        parts.append(f"## {path}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups before their own."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, f"{path} {name}")


def _model_of(hint: Any) -> type[BaseModel] | None:
    """The model of `Model`, `Model | None` or `tuple[Model, ...]`."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint
    return next((found for part in get_args(hint) if (found := _model_of(part)) is not None), None)


def _type_of(field: FieldInfo) -> str:
    if _model_of(field.annotation) is not None:
        return "section"
    return f"`{_name_of(field.annotation)}`"


def _name_of(hint: Any) -> str:
    """A type as one would say it of YAML."""
    if hint is type(None):
        return "null"
    plain = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "anything"}
    if hint in plain:
        return plain[hint]
    parts = get_args(hint)
    origin = getattr(hint, "__origin__", None)
    if hasattr(hint, "__metadata__"):
        return _name_of(parts[0])
    if origin is tuple:
        inner = [_name_of(part) for part in parts if part is not Ellipsis]
        return f"list of {inner[0]}" if Ellipsis in parts else f"[{', '.join(inner)}]"
    if origin is dict:
        return f"{_name_of(parts[0])} -> {_name_of(parts[1])}"
    if str(hint).startswith("typing.Literal"):
        return " or ".join(str(part) for part in parts)
    return " or ".join(_name_of(part) for part in parts) or str(getattr(hint, "__name__", hint))


def _default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f"`{text}`" if len(text) <= LONGEST_DEFAULT else "(long)"


def _text(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")


def _anchor(key: str) -> str:
    return key.replace(".", "-").replace("_", "-")
