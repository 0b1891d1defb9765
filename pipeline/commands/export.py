"""`aqaa-data export`"""

from dataclasses import asdict
from pathlib import Path

import click

from pipeline.commands.arguments import dataset_argument, json_option, print_json, renamed_option
from pipeline.versions.export import FORMATS
from pipeline.versions.export import export as write
from pipeline.versions.reader import Reference, open_version


@click.command(epilog="Example: aqaa-data export out/demo@latest --format rttm --to scored/rttm")
@dataset_argument
@click.option("--format", type=click.Choice(list(FORMATS)), required=True, help="What to write.")
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory.")
@renamed_option("--kept", "--only-kept", is_flag=True, help="Only the turns that were kept.")
@json_option
def export(reference: Reference, format: str, to: Path, only_kept: bool, as_json: bool) -> None:
    """Write the turns of a version for scoring tools, a file per recording.

    A recording's file has its path with / as __. STM says in its label, JSON lines in `status` and `code`,
    whether a turn was kept or why not.
    """
    done = write(open_version(reference), format, to, only_kept)
    if as_json:
        print_json({"to": str(to), **asdict(done)})
        return
    click.echo(f"{done.turns:,} turns of {done.recordings:,} recordings in {to}")
    if done.renamed:
        click.echo(
            f"{done.renamed:,} names hold white space or quotes, which {format} can't: inside the files "
            "these are underscores.",
            err=True,
        )
