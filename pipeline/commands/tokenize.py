"""`aqaa-data tokenize`"""

import sys

import click

from pipeline.commands.arguments import print_json


@click.command(epilog="Example: aqaa-data tokenize --json question.wav answers/*.mp3")
@click.argument("files", metavar="FILE..", nargs=-1, required=True)
@click.option(
    "--tokenizer",
    default="whisper",
    show_default=True,
    metavar="REF",
    help="`whisper`, `step-audio`, or a reference to a Step-Audio checkpoint or to codebooks.",
)
@click.option(
    "--text",
    is_flag=True,
    help="Print the codes as text: `<audio_0><audio_1024>..`. With --json: also the text.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on stdout.")
def tokenize(files: tuple[str, ...], tokenizer: str, text: bool, as_json: bool) -> None:
    """Tokenize audio files of any format, each as one utterance.

    Prints a summary of each file, or only its codes with --text. With --json each line has `file, seconds,
    linguistic, semantic, ids`: the codes of both codebooks, and the ids of the complete 2:3 groups in the
    layout of the public Step-1 vocabulary. For a file that can't be read it has `file, code, error` instead,
    and the exit code is 1.
    """
    from pipeline import api
    from pipeline.inference.tokenize_files import Refused

    failed = 0
    for result in api.tokenize(files, tokenizer):
        if isinstance(result, Refused):
            failed += 1
            if as_json:
                print_json(result.as_json())
            else:
                click.echo(f"{result.file}: {result.error}", err=True)
        elif as_json:
            print_json(result.as_json(text))
        elif text:
            click.echo(result.text)
        else:
            click.echo(
                f"{result.file}: {result.seconds:.2f} s, {len(result.codes.linguistic)} linguistic and "
                f"{len(result.codes.semantic)} semantic codes, {result.groups} groups"
            )
    if failed:
        click.echo(f"{failed} of {len(files)} files could not be tokenized", err=True)
        sys.exit(1)
