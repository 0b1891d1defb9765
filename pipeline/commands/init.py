"""`aqaa-data init`"""

import shutil
from importlib.resources import as_file, files
from pathlib import Path

import click

from schemas.errors import SetupError


@click.command(epilog="Example: aqaa-data init my-data && aqaa-data build my-data/recipe.yaml")
@click.argument(
    "directory", type=click.Path(file_okay=False, path_type=Path), default=Path(), metavar="[DIR]"
)
def init(directory: Path) -> None:
    """Write a commented recipe.yaml, with two short recordings to try it on."""
    recipe = directory / "recipe.yaml"
    if recipe.exists():
        raise SetupError(f"{recipe} is there already; name another directory, or move it away")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with as_file(files("pipeline") / "recipes") as shipped:
            if not (directory / "recordings").exists():
                shutil.copytree(shipped / "example", directory / "recordings")
            shutil.copy(shipped / "new.yaml", recipe)
    except OSError as error:
        raise SetupError(f"can't write to {directory}: {error.strerror}") from error
    click.echo(f"wrote {recipe}; its inputs are in {directory / 'recordings'}: put your own there")
    click.echo(f"next: aqaa-data build {recipe}")
