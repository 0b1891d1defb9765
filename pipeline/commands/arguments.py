"""Arguments, options and output that several commands share."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from schemas.errors import SetupError

if TYPE_CHECKING:
    from pipeline.inference.remote_answerer import ModelEndpoint

Command = TypeVar("Command", bound=Callable[..., Any])


class ReferenceType(click.ParamType):
    """A dataset reference; text that can't be one is a usage error."""

    name = "[URI/]NAME[@VERSION|@TAG]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from pipeline.versions.reader import Reference  # not for commands that read no version

        try:
            return Reference.parse(value)
        except SetupError as error:
            self.fail(str(error), param, ctx)


dataset_argument = click.argument("reference", metavar="DATASET", type=ReferenceType())
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


def settings_option(example: str) -> Callable[[Command], Command]:
    """`--set` of a command that reads a recipe; `example` is one of its settings with a value."""
    return click.option(
        "--set",
        "settings",
        metavar="KEY=VALUE",
        multiple=True,
        help=f"Override a setting, such as {example}; paths are relative to the recipe's folder.",
    )


def recipe_names(command: click.Command) -> list[str]:
    """The options and arguments of a command that a recipe can have, by their names in it."""
    names = [str(parameter.name) for parameter in command.params]
    return [name for name in names if name not in ("recipe", "as_json")]


def _with_recipe(context: click.Context, _: click.Parameter, file: str | None) -> None:
    """Take the options that aren't given from a recipe."""
    if file is None:
        return
    from pipeline.evaluation.recipe import load

    options = load(file, str(context.command.name), recipe_names(context.command)).options
    several = {str(each.name) for each in context.command.params if each.multiple or each.nargs == -1}
    context.default_map = {
        name: [value] if name in several and isinstance(value, str) else value
        for name, value in options.items()
        if value is not None
    }


recipe_option = click.option(
    "--recipe",
    type=click.Path(dir_okay=False),
    callback=_with_recipe,
    is_eager=True,
    expose_value=False,
    help="Take options that aren't given from this file, as `submit` does.",
)
"""Of the commands of `evaluate`."""

DEMO = "package:talk"
"""The checkpoint of `--demo`; it names its tokenizers, and the bundled vocoder speaks for it."""


class CheckpointType(click.ParamType):
    """A model by its folder, its reference, or its URI in a bucket, of which a copy is made."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not str(value).startswith(("s3://", "gs://")):
            return Path(value)
        from pipeline.models import CACHE
        from pipeline.storage.copies import Copies
        from pipeline.storage.uri import normalize_uri

        return Copies(CACHE / "checkpoints").get(normalize_uri(str(value)))


def checkpoint_options(command: Command) -> Command:
    """`--checkpoint` and `--demo`, of which `checkpoint_of` takes the one that was given."""
    command = click.option(
        "--demo",
        is_flag=True,
        help="The small model that comes with aqaa-data: it answers what docs/talk.md lists.",
    )(command)
    return click.option(
        "--checkpoint",
        type=CheckpointType(),
        help="Folder or s3:// URI of a trained model, hub:ORG/NAME, or the short name of a public one "
        "(step-audio-chat).",
    )(command)


def checkpoint_of(checkpoint: Path | None, demo: bool) -> Path:
    """The folder of the model. Raises UsageError unless exactly one of both is given, and SetupError where
    the demonstration model isn't part of this build."""
    if demo == (checkpoint is not None):
        raise click.UsageError(
            "name a model: its folder with --checkpoint, or --demo for the one that is included"
        )
    if checkpoint is not None:
        return checkpoint
    from pipeline.models import resolve  # hashes files, which other commands needn't load

    return resolve(DEMO).path


voice_option = click.option(
    "--voice",
    type=click.Path(path_type=Path),
    metavar="WAV|FILE.voice.npz",
    help="Speak with the voice of a recording, which is kept beside it. Released vocoders only.",
)


def endpoint_options(command: Command) -> Command:
    """`--endpoint` and its key, which `endpoint_of` reads."""
    command = click.option(
        "--endpoint-key-file",
        type=click.Path(path_type=Path),
        help="File with the API key of --endpoint.  [default: OPENAI_API_KEY of the environment]",
    )(command)
    return click.option(
        "--endpoint",
        metavar="URL[#MODEL]",
        help="Where the model runs: http(s)://HOST/v1 of vLLM or SGLang that serve the checkpoint's folder. "
        "Its weights aren't loaded here.",
    )(command)


tensor_parallel_option = click.option(
    "--tensor-parallel",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    show_default=True,
    help="Divide a model that is larger than one GPU among N GPUs of this machine (Step-1 decoders).",
)


def endpoint_of(
    endpoint: str | None, key_file: Path | None, tensor_parallel: int = 1
) -> "ModelEndpoint | None":
    """Raises UsageError for options that don't belong together, and SetupError for a file that is no key."""
    if endpoint is not None and tensor_parallel > 1:
        raise click.UsageError("--tensor-parallel divides a model that runs here: leave out --endpoint")
    if endpoint is None:
        if key_file is not None:
            raise click.UsageError("--endpoint-key-file is the key of --endpoint: give that too")
        return None
    from pipeline.inference.remote_answerer import ModelEndpoint

    return ModelEndpoint.of(endpoint, key_file)


def renamed_option(old: str, new: str, *names: str, **attributes: Any) -> Callable[[Command], Command]:
    """`click.option(new, *names, **attributes)` whose previous spelling `old` still works for one release.

    The old spelling isn't in --help and prints one line of warning on stderr; both together are a usage
    error. Not for options with `required` or `callback`.
    """
    hidden = {"help": None, "hidden": True, "show_default": False, "expose_value": False}

    def given(context: click.Context, option: click.Parameter) -> bool:
        return context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE

    def read_old(context: click.Context, option: click.Parameter, value: Any) -> None:
        if given(context, option):
            context.meta[old] = value

    def read_new(context: click.Context, option: click.Parameter, value: Any) -> Any:
        if old not in context.meta:
            return value
        if given(context, option):
            raise click.UsageError(f"{old} is the previous name of {new}: use {new} alone")
        click.echo(f"warning: {old} is now {new}; the next release removes {old}", err=True)
        return context.meta[old]

    def decorate(command: Command) -> Command:
        # Eager, so that it is read before the new spelling.
        command = click.option(old, **attributes | hidden, is_eager=True, callback=read_old)(command)
        return click.option(new, *names, **attributes, callback=read_new)(command)

    return decorate


def wide_console() -> Console:
    """Stdout: as wide as the terminal, and wide enough to cut nothing where there is none."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def table_of(*columns: str, left: int) -> Table:
    """A plain table whose first columns are text, the others numbers."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right")
    return table


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))
