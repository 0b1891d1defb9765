"""The command `aqaa-data`."""

import importlib
import os
import signal
import sys
from pathlib import Path

import click

from pipeline.commands.extras import missing_extra
from schemas.errors import SetupError

COMMANDS = {
    "init": "pipeline.commands.init",
    "build": "pipeline.commands.build",
    "inspect": "pipeline.commands.inspect",
    "export": "pipeline.commands.export",
    "tokenize": "pipeline.commands.tokenize",
    "versions": "pipeline.commands.versions",
    "recipe": "pipeline.commands.recipe",
    "models": "pipeline.commands.models",
    "codebooks": "pipeline.commands.codebooks",
    "train": "pipeline.commands.train",
    "merge": "pipeline.commands.merge",
    "evaluate": "pipeline.commands.evaluate",
    "answer": "pipeline.commands.answer",
    "serve": "pipeline.commands.serve",
    "submit": "pipeline.commands.submit",
}


class Commands(click.Group):
    """Commands whose modules are imported when they are called, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(COMMANDS[name]), name)
        assert isinstance(found, click.Command)
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aqaa-data")
def root() -> None:
    """Raw recordings in, training data for speech-in, speech-out language models out.

    Start with: aqaa-data init my-data && aqaa-data build my-data/recipe.yaml
    """


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit 0 done, 1 failed with one clear message, 2 wrong usage."""
    for telemetry, off in (
        ("PYANNOTE_METRICS_ENABLED", "0"),
        ("RAY_USAGE_STATS_ENABLED", "0"),
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
    ):
        os.environ.setdefault(telemetry, off)
    # Ray's own processes speak of actors and object stores; what the user must know, this command says.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # A node that is taken away is told by SIGTERM: end as by Ctrl-C, the next run goes on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _refuse_shadows()
        root.main(args=arguments, prog_name="aqaa-data", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(1)
    except SetupError as error:
        click.echo(f"aqaa-data: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        click.echo(f"aqaa-data: {missing}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _refuse_shadows() -> None:
    """Workers import from the working directory first: another `stages/` there would stand in for ours."""
    home = Path(__file__).resolve().parent.parent
    here = Path.cwd()
    for name in ("schemas", "stages", "pipeline"):
        if here != home and (here / name).is_dir() and any((here / name).glob("*.py")):
            raise SetupError(f"{here / name} would be imported in place of aqaa-data's own: start elsewhere")


if __name__ == "__main__":
    main()
