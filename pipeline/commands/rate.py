"""`aqaa-data rate`"""

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.arguments import print_json
from pipeline.commands.extras import require_extra
from pipeline.serving.address import bind, url_of
from schemas.errors import SetupError

if TYPE_CHECKING:
    from pipeline.rating.tasks import RatingTask, UnusedRow

_SHOWN = 10
"""Unused rows that are told one by one."""


@click.command(epilog="Example: aqaa-data rate candidates.jsonl --out ratings.jsonl --rater anna --rater ben")
@click.argument("rows", metavar="ROWS..", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File of the ratings, as JSON lines; raters go on where an existing one ends.",
)
@click.option(
    "--rater",
    "names",
    metavar="NAME",
    multiple=True,
    help="A rater, who gets a link with a new secret token; printed once. Several may be named.",
)
@click.option(
    "--raters",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Raters with tokens of your own: lines of `name token`.",
)
@click.option("--choose", is_flag=True, help="Choose between two answers at a time instead of giving scores.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 takes any free port."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout once the server listens."
)
def rate(
    rows: tuple[Path, ...],
    out: Path,
    names: tuple[str, ...],
    file: Path | None,
    choose: bool,
    host: str,
    port: int,
    as_json: bool,
) -> None:
    """Let people rate answers on a page: listen, give 1 to 5 and a reason, or choose between two.

    ROWS are JSON lines as `answer --candidates` writes them. Raters don't see whose answer they rate, and
    each has an order of their own. An answer with `gold`, the score that it should get, makes gold questions:
    the overview shows the share that each rater has right, and how far the raters agree. The file of ratings
    is for `preferences: {ratings: [..]}` of a recipe; a changed rating replaces the earlier one.
    """
    require_extra("serve")
    from pipeline.rating.access import Access, new_token, new_tokens, read_raters
    from pipeline.rating.app import create_rating_server
    from pipeline.rating.session import RatingSession
    from pipeline.rating.tasks import read_tasks
    from pipeline.storage.saved_rows import SavedRows

    if bool(names) == bool(file):
        raise click.UsageError("name raters with --rater, or a file of raters and tokens with --raters")
    if out.resolve() in {each.resolve() for each in rows}:
        raise click.UsageError(f"--out {out} is a file of rows to rate: name another one for the ratings")
    tokens = read_raters(file) if file else new_tokens(names)
    tasks, unused = read_tasks(rows, choose)
    if not tasks:
        reasons = "; ".join(f"{row.where}: {row.error}" for row in unused[:_SHOWN]) or "the files are empty"
        raise SetupError(f"there is nothing to rate: {reasons}")
    bound = bind(host, port)
    ratings = SavedRows(out, "rate", "rating")
    session = RatingSession(tasks, list(tokens), ratings)
    _tell(tasks, [*unused, *session.unused], ratings.lost)

    overview = new_token()
    url = url_of(host, bound)
    server = create_rating_server(session, Access(tokens, overview))
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    bound.listen()
    # Tokens are printed here and nowhere else; those of a file are known.
    links = {} if file else {name: f"{url}/#{token}" for name, token in tokens.items()}
    told = {"url": url, "raters": links, "overview": f"{url}/#{overview}", "tasks": len(tasks)}
    try:
        if as_json:
            print_json(told | {"unused": [{"row": row.where, "code": row.error.code} for row in unused]})
        else:
            for name, link in links.items():
                click.echo(f"{name}: {link}")
            click.echo(f"overview: {url}/#{overview}")
        sys.stdout.flush()
        click.echo(f"{len(tasks):,} tasks to rate at {url} (Ctrl-C to stop)", err=True)
        server.run(sockets=[bound])
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    ratings.close()
    click.echo(_summary(session.overview()), err=True)


def _tell(tasks: "Sequence[RatingTask]", unused: "Sequence[UnusedRow]", lost: str | None) -> None:
    for row in unused[:_SHOWN]:
        click.echo(f"not used: {row.where}: {row.error} ({row.error.code})", err=True)
    if len(unused) > _SHOWN:
        counts = Counter(row.error.code for row in unused)
        all_counted = ", ".join(f"{count} {code}" for code, count in counts.most_common())
        click.echo(f"not used: {len(unused):,} rows in all: {all_counted}", err=True)
    if lost:
        click.echo("the last line of the ratings was written in part, and is removed", err=True)
    unheard = {(task.prompt, answer.id) for task in tasks for answer in task.answers if answer.unheard}
    if unheard:
        click.echo(
            f"{len(unheard):,} answers have codes but no audio, and are shown as text: "
            "`answer --candidates` with -o FOLDER writes their audio",
            err=True,
        )


def _summary(overview: dict[str, Any]) -> str:
    lines = [
        f"{own['rater']}: {own['rated']} of {overview['tasks']} rated"
        + (f", {own['gold_right']} of {own['gold']} gold questions right" if own["gold"] else "")
        for own in overview["raters"]
    ]
    agreement = overview["agreement"]
    found = "none to be measured" if agreement is None else f"{agreement:.2f} ({overview['metric']})"
    return "\n".join([*lines, f"agreement (Krippendorff's alpha): {found}"])
