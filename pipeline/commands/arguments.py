"""What the commands that read a version have in common."""

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from schemas.errors import SetupError


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
