"""The command `aqaa-data`."""

import importlib
import os
import signal
import sys
from pathlib import Path

import click

from pipeline.commands.extras import missing_extra
from pipeline.telemetry import disable_telemetry
from schemas.errors import SetupError

COMMANDS = {
    "init": "pipeline.commands.init",
    "build": "pipeline.commands.build",
    "inspect": "pipeline.commands.inspect",
    "browse": "pipeline.commands.browse",
    "export": "pipeline.commands.export",
    "tokenize": "pipeline.commands.tokenize",
    "transcribe": "pipeline.commands.transcribe",
    "versions": "pipeline.commands.versions",
    "recipe": "pipeline.commands.recipe",
    "models": "pipeline.commands.models",
    "codebooks": "pipeline.commands.codebooks",
    "train": "pipeline.commands.train",
    "merge": "pipeline.commands.merge",
    "align": "pipeline.commands.align",
    "ablate": "pipeline.commands.ablate",
    "evaluate": "pipeline.commands.evaluate",
    "answer": "pipeline.commands.answer",
    "serve": "pipeline.commands.serve",
    "rate": "pipeline.commands.rate",
    "submit": "pipeline.commands.submit",
}


class Commands(click.Group):
    """Imports the module of a command only when it is called, so that `--help` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[name]), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aqaa-data")
def root() -> None:
    """Turn raw recordings into training data for speech-in, speech-out language models, and train them.

    Start with: aqaa-data init my-data && aqaa-data build my-data/recipe.yaml
    """


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit codes: 0 success, 1 failure with one clear message, 2 wrong usage."""
    disable_telemetry()
    # Ray's own messages are about actors and object stores; the commands report what users need to know.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # SIGTERM announces that this node will be shut down: stop as on Ctrl-C, and the next run resumes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _refuse_shadowing_packages()
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


def _refuse_shadowing_packages() -> None:
    """Raise SetupError if the working directory has packages with our names: workers would import those."""
    installed = Path(__file__).resolve().parent.parent
    working = Path.cwd()
    for name in ("schemas", "stages", "pipeline"):
        folder = working / name
        if working != installed and folder.is_dir() and any(folder.glob("*.py")):
            raise SetupError(
                f"{folder} would be imported instead of aqaa-data's own package: run the command in another "
                "directory"
            )


if __name__ == "__main__":
    main()
