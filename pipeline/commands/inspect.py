"""`aqaa-data inspect`"""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import click
from rich.columns import Columns
from rich.markup import escape
from rich.text import Text

from pipeline.commands.arguments import dataset_argument, json_option, print_json, table_of, wide_console
from pipeline.commands.inspect_set_aside import inspect_set_aside
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
_MAX_TOKENS = 4000
_CODES = "LLSSS"
"""The order of the codes of 120 ms."""

Token = tuple[str, str, int]
"""Kind, glyph and whether it is in the loss."""


@click.command(epilog="Example: aqaa-data inspect datasets/demo@latest monologues/librivox_ss_0870.mp3")
@dataset_argument
@click.argument("key", required=False)
@click.option(
    "--set-aside",
    is_flag=False,
    flag_value="",
    metavar="[CODE]",
    help="Show up to ten turns and recordings of each reason for setting aside, or of one.",
)
@click.option(
    "--audio",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --set-aside: a directory to write a short clip of each to.",
)
@json_option
def inspect(
    reference: Reference, key: str | None, set_aside: str | None, audio: Path | None, as_json: bool
) -> None:
    """Show the samples, turns and recordings of a version.

    KEY is the key of a sample or a turn, or the path of a recording. Without KEY, the first samples of each
    family are listed. What was set aside can be listened to: --set-aside no_speech --audio clips
    """
    version = open_version(reference)
    if audio is not None and set_aside is None:
        raise click.UsageError("--audio needs --set-aside")
    if set_aside is not None:
        if key is not None:
            raise click.UsageError("--set-aside shows reasons, not a KEY: leave one of them out")
        inspect_set_aside(version, set_aside, audio, as_json)
        return
    if key is None:
        rows = first_samples(version, 24)
        if as_json:
            print_json({"samples": version.manifest.samples, "first": rows})
        else:
            _overview(version, rows)
        return
    stored = look_up(version, key)
    if as_json:
        print_json(asdict(stored))
    elif isinstance(stored, StoredSample):
        _sample(version, stored)
    elif isinstance(stored, StoredTurn):
        _turn(stored)
    else:
        _recording(stored)


def _overview(version: Version, rows: list[dict[str, Any]]) -> None:
    counts = ", ".join(f"{count:,} {family}" for family, count in sorted(version.manifest.samples.items()))
    console = wide_console()
    console.print(f"{version.manifest.dataset} {version.id}: {counts}. The first samples of each:")
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


def _sample(version: Version, sample: StoredSample) -> None:
    console = wide_console()
    row, record = sample.row, sample.record
    console.print(f"[bold]{row['key']}[/]  {row['family']}, {row['split']}, in {row['shard']}")
    source = record.get("source") or {}
    if source:
        start, end = source["start"], source["end"]
        times = "" if start is None else f" {start:.2f} to {end:.2f} s"
        console.print(f"[dim]from[/] {escape(source['recording'])}{times}")
    answers = [record[name] for name in ("chosen", "rejected") if name in record]
    for message in (*record["messages"], *answers):
        for part in message["content"]:
            console.print(Text.assemble((f"{message['role'] or 'document':>10} ", "bold"), _part(part)))
    console.print()
    strip = token_strip(sample.tokens, version.manifest.vocabulary)
    for line in _strip(strip[:_MAX_TOKENS], sample.loss).split("\n"):
        console.print(line, soft_wrap=True)
    left = len(strip) - _MAX_TOKENS
    console.print(
        f"[dim]{len(strip):,} tokens{f', {left:,} more than shown' if left > 0 else ''}: t text, [/]"
        "[cyan]L[/] [dim]linguistic and[/] [magenta]S[/] [dim]semantic codes, ⟨ ⟩ audio start and end, × how "
        f"often tokens repeat; underlined: the {sum(sample.loss):,} in the loss[/]"
    )
    for turn in record.get("turns") or ():
        console.print(f"\n[bold]turn {turn['index']}[/], {_speaker_and_times(turn)}")
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
    """The tokens as coloured glyphs, one line per message; runs of text and of codes in a few glyphs."""
    line = Text()
    tokens = list(zip((kind for kind, _ in strip), (glyph for _, glyph in strip), loss, strict=False))
    for is_code, run in groupby(tokens, lambda token: token[0] in ("linguistic", "semantic")):
        period = len(_CODES) if is_code else 1
        for times, part in _repeats(list(run), period):
            for kind, glyph, in_loss in part:
                if glyph == "BOT" and line:
                    line.append("\n")
                style = f"{_COLOURS[kind]} underline" if in_loss else _COLOURS[kind]
                line.append(f" {glyph} " if len(glyph) > 1 else glyph, style)
            if times > 1:
                line.append(f"×{times:,} ", "dim")
    return line


def _repeats(tokens: list[Token], period: int) -> Iterator[tuple[int, list[Token]]]:
    """(times, tokens): what is repeated each `period` tokens once, with the number of times."""
    parts = [tokens[first : first + period] for first in range(0, len(tokens), period)]
    for part, equal in groupby(parts):
        yield len(list(equal)), part


def _turn(turn: StoredTurn) -> None:
    console = wide_console()
    row = turn.row
    console.print(f"[bold]{row['key']}[/]  turn {row['index']} of {escape(row['recording'])}")
    console.print(f"{_speaker_and_times(row)}: {escape(_status(row))}")
    console.print(Text(row["text"] or "", "italic"))
    console.print(_measures(row))
    if turn.samples:
        console.print("\n[bold]used in[/]")
        console.print(_samples(turn.samples))


def _recording(recording: StoredRecording) -> None:
    console = wide_console()
    console.print(
        f"[bold]{escape(recording.recording)}[/]: {len(recording.turns):,} turns, "
        f"{len(recording.samples):,} samples"
    )
    for row in recording.set_aside:
        if row["turn"] is None:
            console.print(f"set aside by {row['stage']}: {escape(row['message'])} [dim]({row['code']})[/]")
    table = table_of("turn", "speaker", "start", "end", "kept", "text", left=2)
    for column in table.columns[4:]:
        column.justify = "left"
    for row in recording.turns:
        table.add_row(
            row["key"],
            escape(row["speaker"]),
            f"{row['start']:.2f}",
            f"{row['end']:.2f}",
            escape(_status(row)),
            Text(row["text"] or ""),
        )
    if recording.turns:
        console.print(table)
    if recording.samples:
        console.print("\n[bold]samples[/]")
        console.print(_samples(recording.samples))


def _speaker_and_times(turn: dict[str, Any]) -> str:
    return f"{escape(turn['speaker'])}, {turn['start']:.2f} to {turn['end']:.2f} s"


def _status(row: dict[str, Any]) -> str:
    if row["status"] == "set_aside":
        return f"set aside by {row['stage']}: {row['message']} ({row['code']})"
    return str(row["status"])


def _measures(turn: dict[str, Any]) -> Any:
    transcript = {
        name: value for name, value in (turn["transcript"] or {}).items() if name not in ("text", "words")
    }
    return _facts(transcript | (turn["assessment"] or {}) | (turn.get("labels") or {}))


def _facts(values: dict[str, Any]) -> Any:
    """Names and values in as many columns as fit."""
    facts = (Text.assemble((f"{name} ", "dim"), _plain(value)) for name, value in values.items())
    return Columns(facts, padding=(0, 3))


def _plain(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
