"""`aqaa-data transcribe`"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from pipeline.export.run import EXTENSIONS, PER_RECORDING
from pipeline.inference.tokenize_files import Refused
from pipeline.inference.transcribe_files import Transcribed
from schemas.errors import SetupError

TEXT, JSON = "txt", "json"


@click.command(epilog="Example: aqaa-data transcribe interview.mp3 --speakers 2 --format srt > interview.srt")
@click.argument("files", metavar="FILE..", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice((TEXT, JSON, "srt", "vtt", "rttm", "ctm", "textgrid")),
    default=TEXT,
    show_default=True,
    help="Form of the output: a line a turn, one JSON object a file, or the format of another tool.",
)
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write a file into for each FILE.  [default: standard output]",
)
@click.option("--language", metavar="CODE", help="Such as en or zh.  [default: as it is heard]")
@click.option(
    "--speakers", type=click.IntRange(1), help="Number of speakers.  [default: as many as are heard]"
)
@click.option(
    "--model", metavar="REF", help="Recogniser, a faster-whisper model.  [default: package:whisper-base]"
)
def transcribe(
    files: tuple[str, ...],
    form: str,
    to: Path | None,
    language: str | None,
    speakers: int | None,
    model: str | None,
) -> None:
    """Write down who says what in audio files of any format.

    Runs the first stages of a build (decode, diarize, transcribe) with their defaults, without a recipe and
    without Ray. A file that can't be transcribed is named on stderr, and the exit code is then 1.
    """
    from pipeline.inference.transcribe_files import transcribe_files
    from stages.diarize import DiarizeConfig
    from stages.transcribe import TranscribeConfig

    if len(files) > 1 and to is None and form not in (TEXT, JSON):
        raise click.UsageError(
            f"{len(files)} files in the format {form} need a directory: name one with --to"
        )
    names = [Path(file).stem for file in files]
    if to and len(set(names)) < len(names):
        raise click.UsageError("two of the files have the same name: they would be written to one file")
    diarize = DiarizeConfig(min_speakers=speakers, max_speakers=speakers)
    settings = TranscribeConfig(language=language, **({"model": model} if model else {}))
    if to:
        with _told(to):
            to.mkdir(parents=True, exist_ok=True)
    failed = 0
    for result in transcribe_files(files, diarize, settings):
        if isinstance(result, Refused):
            failed += 1
            click.echo(f"{result.file}: {result.error}", err=True)
        elif to:
            file = to / f"{Path(result.file).stem}.{EXTENSIONS.get(form, form)}"
            with _told(file):
                file.write_text(written(result, form), encoding="utf-8")
        else:
            click.echo(written(result, form), nl=False)
    if failed:
        click.echo(f"{failed} of {len(files)} files could not be transcribed", err=True)
        sys.exit(1)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(f"{path} can't be written: {error.strerror or error}") from error


def written(transcribed: Transcribed, form: str) -> str:
    """The turns in a format, as lines."""
    if form == JSON:
        return json.dumps(transcribed.as_json(), ensure_ascii=False) + "\n"
    if form == TEXT:
        lines = [
            f"[{_clock(turn.start)} - {_clock(turn.end)}] {turn.speaker}: {turn.text}"
            for turn in transcribed.turns
            if turn.text
        ]
    else:
        lines = [*PER_RECORDING[form](Path(transcribed.file).stem, transcribed.rows())]
    return "".join(f"{line}\n" for line in lines)


def _clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds // 60)}:{seconds % 60:05.2f}"
