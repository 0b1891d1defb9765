"""`aqaa-data inspect`"""

from dataclasses import asdict
from itertools import groupby
from typing import Any

import click
from rich.columns import Columns
from rich.markup import escape
from rich.text import Text

from pipeline.commands.arguments import dataset_argument, json_option, print_json, table_of, wide_console
from pipeline.versions.inspect import (
    StoredRecording,
    StoredSample,
    StoredTurn,
    first_samples,
    look_up,
    token_strip,
)
from pipeline.versions.reader import Reference, Version, open_version

_COLOURS = {"text": "default", "linguistic": "cyan", "semantic": "magenta", "marker": "dim"}
_MOST_TOKENS = 4000


@click.command(epilog="Example: aqaa-data inspect out/demo@latest monologues/librivox_ss_0870.mp3")
@dataset_argument
@click.argument("key", required=False)
@json_option
def inspect(reference: Reference, key: str | None, as_json: bool) -> None:
    """Look at a version's samples.

    KEY is the key of a sample or a turn, or the path of a recording; without one the first samples of each
    family are listed.
    """
    version = open_version(reference)
    if key is None:
        rows = first_samples(version, 24)
        if as_json:
            print_json({"samples": version.manifest.samples, "first": rows})
        else:
            _overview(version, rows)
        return
    found = look_up(version, key)
    if as_json:
        print_json(asdict(found))
    elif isinstance(found, StoredSample):
        _sample(version, found)
    elif isinstance(found, StoredTurn):
        _turn(found)
    else:
        _recording(found)


def _overview(version: Version, rows: list[dict[str, Any]]) -> None:
    counts = ", ".join(f"{count:,} {family}" for family, count in sorted(version.manifest.samples.items()))
    console = wide_console()
    console.print(f"{version.manifest.dataset} {version.id}: {counts}. The first of each:")
    console.print(_samples(rows))


def _samples(rows: list[dict[str, Any]]) -> Any:
    table = table_of("key", "family", "split", "recording", "language", "audio", "text", "codes", left=5)
    for row in rows:
        table.add_row(
            row["key"],
            row["family"],
            row["split"],
            escape(row["recording"]),
            row["language"],
            f"{row['seconds']:.1f} s",
            f"{row['text_tokens']:,}",
            f"{row['linguistic_tokens'] + row['semantic_tokens']:,}",
        )
    return table


def _sample(version: Version, found: StoredSample) -> None:
    console = wide_console()
    row, record = found.row, found.record
    console.print(f"[bold]{row['key']}[/]  {row['family']}, {row['split']}, in {row['shard']}")
    source = record.get("source") or {}
    if source:
        start, end = source["start"], source["end"]
        times = "" if start is None else f" {start:.2f} to {end:.2f} s"
        console.print(f"[dim]from[/] {escape(source['recording'])}{times}")
    sides = [record[name] for name in ("chosen", "rejected") if name in record]
    for message in (*record["messages"], *sides):
        for part in message["content"]:
            console.print(Text.assemble((f"{message['role'] or 'document':>10} ", "bold"), _part(part)))
    console.print()
    strip = token_strip(found.tokens, version.manifest.vocabulary)
    for line in _strip(strip[:_MOST_TOKENS], found.loss).split("\n"):
        console.print(line, soft_wrap=True)
    left = len(strip) - _MOST_TOKENS
    console.print(
        f"[dim]{len(strip):,} tokens{f', {left:,} more than shown' if left > 0 else ''}: t text, [/]"
        "[cyan]L[/] [dim]linguistic and[/] [magenta]S[/] [dim]semantic codes, ⟨ ⟩ audio start and end; "
        f"underlined: the {sum(found.loss):,} that are learnt[/]"
    )
    for turn in record.get("turns") or ():
        console.print(f"\n[bold]turn {turn['index']}[/], {_place(turn)}")
        console.print(_measures(turn))
    if record.get("sidecar"):
        console.print("\n[bold]sidecar[/]")
        console.print(_facts(record["sidecar"]))


def _part(part: dict[str, Any]) -> Text:
    text = part.get("text") or ""
    if part["type"] == "text":
        return Text(text.strip("\n"))
    return Text.assemble(
        (f"♪ {part['end'] - part['start']:.2f} s of {part['speaker']} ", "cyan"), (text, "italic dim")
    )


def _strip(strip: list[tuple[str, str]], loss: list[int]) -> Text:
    """The tokens as coloured glyphs, a line a message."""
    shown = Text()
    for (kind, learnt), run in groupby(zip(strip, loss, strict=False), lambda item: (item[0][0], item[1])):
        style = f"{_COLOURS[kind]} underline" if learnt else _COLOURS[kind]
        for (_, glyph), _ in run:
            if glyph == "BOT" and shown:
                shown.append("\n")
            shown.append(f" {glyph} " if len(glyph) > 1 else glyph, style)
    return shown


def _turn(found: StoredTurn) -> None:
    console = wide_console()
    row = found.row
    console.print(f"[bold]{row['key']}[/]  turn {row['index']} of {escape(row['recording'])}")
    console.print(f"{_place(row)}: {escape(_fate(row))}")
    console.print(Text(row["text"] or "", "italic"))
    console.print(_measures(row))
    if found.samples:
        console.print("\n[bold]used in[/]")
        console.print(_samples(found.samples))


def _recording(found: StoredRecording) -> None:
    console = wide_console()
    console.print(
        f"[bold]{escape(found.recording)}[/]: {len(found.turns):,} turns, {len(found.samples):,} samples"
    )
    for row in found.set_aside:
        if row["turn"] is None:
            console.print(f"set aside by {row['stage']}: {escape(row['message'])} [dim]({row['code']})[/]")
    table = table_of("turn", "speaker", "start", "end", "kept", "text", left=2)
    for column in table.columns[4:]:
        column.justify = "left"
    for row in found.turns:
        table.add_row(
            row["key"],
            escape(row["speaker"]),
            f"{row['start']:.2f}",
            f"{row['end']:.2f}",
            escape(_fate(row)),
            Text(row["text"] or ""),
        )
    if found.turns:
        console.print(table)
    if found.samples:
        console.print("\n[bold]samples[/]")
        console.print(_samples(found.samples))


def _place(turn: dict[str, Any]) -> str:
    return f"{escape(turn['speaker'])}, {turn['start']:.2f} to {turn['end']:.2f} s"


def _fate(row: dict[str, Any]) -> str:
    if row["status"] == "set_aside":
        return f"set aside by {row['stage']}: {row['message']} ({row['code']})"
    return str(row["status"])


def _measures(turn: dict[str, Any]) -> Any:
    transcript = {
        name: value for name, value in (turn["transcript"] or {}).items() if name not in ("text", "words")
    }
    return _facts(transcript | (turn["assessment"] or {}) | (turn.get("labels") or {}))


def _facts(values: dict[str, Any]) -> Any:
    """Names and values, as many beside each other as fit."""
    facts = (Text.assemble((f"{name} ", "dim"), _plain(value)) for name, value in values.items())
    return Columns(facts, padding=(0, 3))


def _plain(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
