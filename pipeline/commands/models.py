"""`aqaa-data models`"""

from typing import Any

import click

from pipeline.commands.arguments import json_option, print_json, table_of, wide_console
from pipeline.models import PACKAGED, PUBLISHED, SEE_CARD, resolve
from schemas.errors import SetupError


@click.group()
def models() -> None:
    """List and download models, by reference: package:NAME, hub:ORG/NAME or file:/PATH."""


@models.command("list", epilog="Example: aqaa-data models list --json")
@json_option
def list_(as_json: bool) -> None:
    """List the models in installed packages, and the models of the hub that have a short name."""
    rows = [
        _row(f"package:{name}", entry.licence) | {"what": entry.what}
        for name, entry in sorted(PACKAGED.items())
    ]
    rows += [_row(name, SEE_CARD) | {"what": entry.what} for name, entry in sorted(PUBLISHED.items())]
    if as_json:
        print_json({"models": rows})
        return
    table = table_of("model", "what", "licence", "sha256", "size", left=4)
    for row in rows:
        size = f"{row['bytes'] / 1e6:.0f} MB" if row["present"] else "not downloaded"
        table.add_row(row["model"], row["what"], row["licence"], (row["sha256"] or "")[:12], size)
    wide_console().print(table)


@models.command(
    epilog="Examples: aqaa-data models pull step-audio-tokenizer, "
    "aqaa-data models pull hub:Systran/faster-whisper-large-v3"
)
@click.argument("reference")
@json_option
def pull(reference: str, as_json: bool) -> None:
    """Download a model of the hub into the cache, or check one that is on this machine.

    For gated models, set HF_TOKEN to an access token of the hub.
    """
    model = resolve(reference, pull=True)
    if as_json:
        print_json(_row(reference, model.licence))
    else:
        click.echo(f"{reference}  {model.size}  sha256 {model.sha256[:12]}  {model.path}")


def _row(reference: str, licence: str) -> dict[str, Any]:
    try:
        model = resolve(reference)
    except SetupError:
        return {"model": reference, "present": False, "bytes": 0, "sha256": None, "licence": licence}
    return {
        "model": reference,
        "present": True,
        "bytes": model.bytes,
        "sha256": model.sha256,
        "licence": model.licence,
    }
