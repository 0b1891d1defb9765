"""`aqaa-data export`"""

from dataclasses import asdict

import click

from pipeline.commands.arguments import dataset_argument, json_option, print_json, renamed_option
from pipeline.commands.progress import Progress
from pipeline.export.exported import Exported
from pipeline.export.names import NameForm
from pipeline.export.run import FORMATS
from pipeline.export.run import export as write_turns
from pipeline.versions.reader import Reference, open_version


@click.command(epilog="Example: aqaa-data export datasets/demo@latest --format rttm --to scored/rttm")
@dataset_argument
@click.option("--format", type=click.Choice(FORMATS), required=True, help="File format.")
@click.option(
    "--to",
    metavar="URI",
    required=True,
    help="Directory or prefix (s3://, gs://) to write to: a new or an empty one. A stopped export goes on.",
)
@click.option(
    "--uri",
    type=click.Choice(["path", "stem"]),
    default="path",
    show_default=True,
    help="How recordings are named: by their path with / replaced by __, or by their file name alone, "
    "without extension.",
)
@renamed_option("--kept", "--only-kept", is_flag=True, help="Export only turns that were kept.")
@json_option
def export(reference: Reference, format: str, to: str, uri: NameForm, only_kept: bool, as_json: bool) -> None:
    """Export a version in the format of another tool.

    rttm, stm, ctm, jsonl, srt, vtt and textgrid have a file per recording. nemo, kaldi and lhotse are
    manifests of all turns, which name the recordings where they are. hf is a folder of Parquet with the audio
    and the codes of each turn. moshi has conversations of two in stereo. energon, mds, litdata, chat and
    chat-codes have samples instead of turns.
    """
    exported = write_turns(open_version(reference), format, to, only_kept, uri, Progress())
    if as_json:
        print_json({"to": to, **asdict(exported)})
        return
    if exported.samples:
        click.echo(f"{exported.samples:,} samples in {to}")
    else:
        click.echo(f"{exported.turns:,} turns of {exported.recordings:,} recordings in {to}")
    for note in _notes(exported, format):
        click.echo(note, err=True)


def _notes(exported: Exported, format: str) -> list[str]:
    """What differs from the version, as sentences."""
    notes = {
        f"{exported.renamed:,} names contain white space or quotes, which {format} doesn't allow: "
        "they are written with underscores": exported.renamed,
        f"{exported.without_text:,} turns without text are left out": exported.without_text,
        f"{exported.without_words:,} turns are left out, as the times of their words aren't known": (
            exported.without_words
        ),
        f"{exported.documents:,} samples are left out, as documents are no chats": exported.documents,
        f"{exported.not_two_speakers:,} recordings are left out, as they don't have two speakers": (
            exported.not_two_speakers
        ),
        f"{exported.off_clock:,} recordings start late or have gaps: players that ignore their time stamps "
        "are elsewhere at the time of a turn": exported.off_clock,
    }
    return [note for note, number in notes.items() if number]
