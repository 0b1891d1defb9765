"""`aqaa-data export`"""

from dataclasses import asdict
from pathlib import Path

import click

from pipeline.commands.arguments import dataset_argument, json_option, print_json, renamed_option
from pipeline.versions.export import FORMATS
from pipeline.versions.export import export as write_turns
from pipeline.versions.reader import Reference, open_version


@click.command(epilog="Example: aqaa-data export datasets/demo@latest --format rttm --to scored/rttm")
@dataset_argument
@click.option("--format", type=click.Choice(list(FORMATS)), required=True, help="File format.")
@click.option(
    "--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory to write to."
)
@renamed_option("--kept", "--only-kept", is_flag=True, help="Export only turns that were kept.")
@json_option
def export(reference: Reference, format: str, to: Path, only_kept: bool, as_json: bool) -> None:
    """Export the turns of a version for scoring tools, one file per recording.

    A file is named after its recording's path, with / replaced by __. Whether a turn was kept, or why not, is
    in the label of STM, and in `status` and `code` of JSON Lines.
    """
    exported = write_turns(open_version(reference), format, to, only_kept)
    if as_json:
        print_json({"to": str(to), **asdict(exported)})
        return
    click.echo(f"{exported.turns:,} turns of {exported.recordings:,} recordings in {to}")
    if exported.renamed:
        click.echo(
            f"{exported.renamed:,} names contain white space or quotes, which {format} doesn't allow: the "
            "files have underscores instead",
            err=True,
        )
