"""MkDocs hook that generates the reference pages from the code: recipe keys from the pydantic fields and
their descriptions, commands from their --help, the Python API from its docstrings."""

import inspect
import json
from collections.abc import Iterator
from typing import Any, get_args

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import aqaa_data
from pipeline.ablation.recipe import AblateRecipe
from pipeline.alignment.recipe import AlignRecipe
from pipeline.cli import root
from pipeline.config.recipe import Recipe
from pipeline.training.recipe import TrainingRecipe
from pipeline.training.vocoder import VocoderRecipe

API_MARK = "<!-- functions: generated from the docstrings -->"

LONGEST_DEFAULT = 60
"""Characters; longer defaults, such as lists of phrasings, are in the code."""

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
    "align": (
        "Align recipe",
        "Every key of the recipes that `aqaa-data align` reads. [Preferences in a loop](../align.md) "
        "explains them by example. `aqaa-data recipe schema --align` writes the same as JSON Schema, for "
        "editors.",
        AlignRecipe,
    ),
    "ablate": (
        "Ablate recipe",
        "Every key of the recipes that `aqaa-data ablate` reads. [Ablations](../ablate.md) explains them by "
        "example. `aqaa-data recipe schema --ablate` writes the same as JSON Schema, for editors.",
        AblateRecipe,
    ),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages. Called by MkDocs."""
    for name, (title, intro, model) in _INTROS.items():
        page = f"# {title}\n\n{intro}\n\n" + "\n".join(recipe_sections(model))
        files.append(File.generated(config, f"reference/{name}.md", content=page))
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the functions of the Python API into their page. Called by MkDocs."""
    return markdown.replace(API_MARK, "\n".join(api_sections())) if API_MARK in markdown else markdown


def api_sections() -> Iterator[str]:
    """The signature and the docstring of everything that `aqaa_data` exports, functions first."""
    exported = [(name, getattr(aqaa_data, name)) for name in aqaa_data.__all__]
    for name, thing in sorted(exported, key=lambda named: inspect.isclass(named[1])):
        yield f"## {name}\n"
        if inspect.isfunction(thing):
            signature = str(inspect.signature(thing)).replace("'", "")
            yield f"```python\n{name}{signature}\n```\n"
        yield f"{inspect.getdoc(thing)}\n"
        for method, function in vars(thing).items() if inspect.isclass(thing) else ():
            if isinstance(function, property):
                yield f"### {name}.{method}\n\n{inspect.getdoc(function)}\n"
            elif inspect.isfunction(function) and not method.startswith("_"):
                yield f"### {name}.{method}()\n\n{inspect.getdoc(function)}\n"


def recipe_sections(recipe: type[BaseModel]) -> Iterator[str]:
    """A table of the top-level keys, and after it a section for each nested model.

    A section that is the same as an earlier one is shown once. One that extends an earlier one, as the
    stages of a training extend `train`, shows only what is new or has another default.
    """
    shown: dict[type[BaseModel], tuple[str, dict[str, Any]]] = {}
    waiting: list[tuple[str, type[BaseModel], BaseModel | None]] = [("", recipe, None)]
    while waiting:
        path, model, defaults = waiting.pop(0)
        base = next((parent for parent in model.__mro__ if parent in shown), None)
        values = _defaults(model, defaults)
        fields = dict(model.model_fields)
        yield f"## `{path}` {{ #{_anchor(path)} }}\n" if path else "## Top level\n"
        if path and model.__doc__ and model.__doc__ != BaseModel.__doc__:
            yield f"{_text(model.__doc__)}\n"
        if base is not None:
            known, of_base = shown[base]
            fields = {n: f for n, f in fields.items() if n not in of_base or of_base[n] != values[n]}
            yield f"All keys of [`{known}`](#{_anchor(known)}){', and:' if fields else '.'}\n"
        elif path:
            shown[model] = path, values
        if fields:
            yield "| key | type | default | |\n| --- | --- | --- | --- |"
        nested: list[tuple[str, type[BaseModel], BaseModel | None]] = []
        for name, field in fields.items():
            key = f"{path}.{name}" if path else name
            description = _text(field.description or "")
            if (inner := _model_of(field.annotation)) is not None:
                value = values[name] if isinstance(values[name], BaseModel) else None
                known, of_known = shown.get(inner, (key, None))
                if _defaults(inner, value) != of_known:
                    known = key
                    nested.append((key, inner, value))
                link = f"see [`{known}`](#{_anchor(known)})"
                description = f"{description}; {link}" if description else link
            default = _default_of(field, values[name])
            yield f"| `{name}` | {_cell(_type_of(field))} | {_cell(default)} | {_cell(description)} |"
        yield ""
        waiting = nested + waiting


def _defaults(model: type[BaseModel], instance: BaseModel | None) -> dict[str, Any]:
    """Default of each field: those of the instance that the enclosing section has as default, else the
    model's own."""
    if instance is not None:
        return {name: getattr(instance, name) for name in model.model_fields}
    return {name: f.get_default(call_default_factory=True) for name, f in model.model_fields.items()}


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
    bounds = [f"{sign} {bound:g}" for rule in field.metadata for sign, bound in _bounds(rule)]
    return " ".join([f"`{_name_of(field.annotation)}`", ", ".join(bounds)]).strip()


def _bounds(rule: Any) -> Iterator[tuple[str, float]]:
    """The bounds of a number that a rule of pydantic sets, as sign and number."""
    for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
        if (bound := getattr(rule, name, None)) is not None:
            yield sign, bound


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


def _default_of(field: FieldInfo, value: Any) -> str:
    if field.is_required():
        return "required"
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
