"""Options that were renamed: both spellings work, one of them with a warning."""

import click
import pytest
from click.testing import CliRunner

from pipeline.commands.arguments import renamed_option
from pipeline.commands.codebooks import fit
from pipeline.commands.export import export
from pipeline.commands.removal import forget
from pipeline.commands.serve import serve


@click.command()
@renamed_option(
    "--few", "--count", "number", type=click.IntRange(0), default=8, show_default=True, help="Of x."
)
@renamed_option("--yes", "--confirm", is_flag=True)
@renamed_option("--held", "--holdout", multiple=True)
def example(number: int, confirm: bool, holdout: tuple[str, ...]) -> None:
    click.echo(f"{number} {confirm} {holdout}")


def test_the_new_spelling_is_read_without_a_warning():
    result = CliRunner().invoke(example, ["--count", "3", "--confirm", "--holdout", "a", "--holdout", "b"])
    assert (result.stdout, result.stderr) == ("3 True ('a', 'b')\n", "")
    assert CliRunner().invoke(example).stdout == "8 False ()\n"


def test_the_old_spelling_is_read_with_a_warning():
    result = CliRunner().invoke(example, ["--few", "3", "--yes", "--held", "a", "--held", "b"])
    assert result.stdout == "3 True ('a', 'b')\n"
    assert result.stderr.splitlines() == [
        "warning: --few is now --count; the next release removes --few",
        "warning: --yes is now --confirm; the next release removes --yes",
        "warning: --held is now --holdout; the next release removes --held",
    ]


def test_the_old_spelling_is_checked_like_the_new_one():
    result = CliRunner().invoke(example, ["--few", "-1"])
    assert result.exit_code == 2
    assert "Invalid value for '--few'" in result.stderr


@pytest.mark.parametrize("arguments", [["--few", "3", "--count", "4"], ["--count", "8", "--few", "3"]])
def test_both_spellings_together_are_a_usage_error(arguments):
    result = CliRunner().invoke(example, arguments)
    assert result.exit_code == 2
    assert "--few is the previous name of --count: use --count alone" in result.stderr


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        (fit, "--held", "--holdout"),
        (serve, "--waiting", "--max-queue"),
        (export, "--kept", "--only-kept"),
        (forget, "--yes", "--confirm"),
    ],
)
def test_help_names_the_new_spelling_alone(command, old, new):
    """And the command takes the old one."""
    text = CliRunner().invoke(command, ["--help"]).stdout
    assert new in text
    assert old not in text
    assert old in {spelling for option in command.params for spelling in option.opts}
