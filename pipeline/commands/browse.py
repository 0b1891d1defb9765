"""`aqaa-data browse`"""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from pipeline import api
from pipeline.commands.arguments import ReferenceType, print_json, settings_option
from pipeline.commands.extras import require_extra
from pipeline.report.links import BROWSE_PORT
from pipeline.serving.address import bind, url_of
from pipeline.versions.reader import Reference, open_version

if TYPE_CHECKING:
    from stages.select import SelectConfig


@click.command(epilog="Example: aqaa-data browse datasets/demo@latest --marks marks.jsonl")
@click.argument("references", metavar="[DATASET]..", nargs=-1, type=ReferenceType())
@click.option(
    "--recipe",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Recipe of a build: the turns that are annotated so far, under its thresholds, without packing.",
)
@settings_option("select.words_min=2")
@click.option(
    "--marks",
    "marks_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of JSON lines for marks: good, bad or wrong speaker. Without it, nothing is written.",
)
@click.option(
    "--vocoder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the vocoder that speaks tokens. Without it, the bundled one.",
)
@click.option("--turn", metavar="KEY", help="The turn that the printed link names.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=BROWSE_PORT,
    show_default=True,
    help="0 takes any free port.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout once the server listens."
)
def browse(
    references: tuple[Reference, ...],
    recipe: str | None,
    settings: tuple[str, ...],
    marks_file: Path | None,
    vocoder: Path | None,
    turn: str | None,
    host: str,
    port: int,
    as_json: bool,
) -> None:
    """Search, listen and decide over the turns of versions, on a page of this machine.

    DATASET is [URI/]NAME[@VERSION|@TAG]; several can be compared, also with what --recipe has annotated. The
    page filters by every measure and category, plays turns, shows what another threshold of `select` would
    keep, and marks turns for `select.marks` of the next build.
    """
    if not references and recipe is None:
        raise click.UsageError("name a dataset to browse, or a build with --recipe")
    if settings and recipe is None:
        raise click.UsageError("--set changes settings of a recipe: give --recipe too")
    require_extra("browse")
    from pipeline.browsing.query import turn_tables
    from pipeline.versions.provenance import select_of

    versions = [open_version(reference) for reference in references]
    for version in versions:
        version.refuse_partitions("each is browsed by itself")
    bound = bind(host, port)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    with ExitStack() as stack:
        files: list[tuple[AbstractContextManager[Path], SelectConfig]]
        files = [(version.local("turns.parquet"), select_of(version.manifest)) for version in versions]
        if recipe is not None:
            from pipeline.browsing.unpacked import annotated_part, unpacked_turns, unpacked_version

            annotated = annotated_part(api.plan(api.load_recipe(recipe, *settings), dry_run=True))
            versions.insert(0, unpacked_version(annotated))
            turns = nullcontext(stack.enter_context(unpacked_turns(annotated)))
            files.insert(0, (turns, annotated.recipe.select))
        beside = stack.enter_context(ThreadPoolExecutor(1))
        reading = beside.submit(stack.enter_context, turn_tables(files))
        from pipeline.browsing.app import OpenVersion, create_browse_server, is_local
        from pipeline.browsing.audio import audio_of
        from pipeline.browsing.marks import MarksFile
        from pipeline.browsing.tokens import SpokenTokens
        from pipeline.inference.answer_vocoder import check_vocoder
        from pipeline.rating.access import new_token

        check_vocoder(None if vocoder is None else str(vocoder))
        tables = reading.result()
        opened = [
            OpenVersion(
                version, table, stack.enter_context(audio_of(version)), SpokenTokens(version, vocoder)
            )
            for version, table in zip(versions, tables, strict=True)
        ]
        marks = MarksFile(marks_file) if marks_file else None
        if marks:
            stack.callback(marks.close)
        token = None if is_local(host) else new_token()
        named = {"token": token, "turn": turn}
        link = f"{url_of(host, bound)}/#{'&'.join(f'{k}={quote(v)}' for k, v in named.items() if v)}".rstrip(
            "#"
        )
        server = create_browse_server(opened, marks, token)
        bound.listen()
        for table in tables:  # by then the first turns are looked at
            beside.submit(table.whole_charts)
        try:
            if as_json:
                print_json({"url": link, "versions": [version.id for version in versions]})
            else:
                click.echo(link)
            sys.stdout.flush()
            number = sum(table.whole.turns for table in tables)
            click.echo(f"{number:,} turns to look at (Ctrl-C to stop)", err=True)
            server.run(sockets=[bound])
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
