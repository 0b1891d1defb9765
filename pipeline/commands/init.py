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
    """Create a commented recipe.yaml and a folder with example recordings in DIR."""
    recipe = directory / "recipe.yaml"
    if recipe.exists():
        raise SetupError(f"{recipe} already exists: name another directory, or move the file")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with as_file(files("pipeline") / "recipes") as bundled:
            if not (directory / "recordings").exists():
                shutil.copytree(bundled / "example", directory / "recordings")
            shutil.copy(bundled / "new.yaml", recipe)
    except OSError as error:
        raise SetupError(f"can't write to {directory}: {error.strerror}") from error
    click.echo(f"wrote {recipe}; its inputs are in {directory / 'recordings'}: add your own recordings there")
    click.echo(f"next: aqaa-data build {recipe}")
