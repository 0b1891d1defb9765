"""`aqaa-data evaluate`"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.arguments import json_option, print_json, table_of, wide_console

if TYPE_CHECKING:
    from pipeline.evaluation.continuations import ContinuationComparison
    from pipeline.evaluation.perplexity import Comparison, PredictionLoss
    from pipeline.evaluation.resynthesis import Resynthesis
    from pipeline.evaluation.run import Evaluation

TELL_EVERY = 10.0
"""Seconds between lines of progress."""


@click.group()
def evaluate() -> None:
    """How good tokens are."""


@evaluate.command(epilog="Example: aqaa-data evaluate tokens --report tokens.html recordings/*.wav")
@click.argument("places", metavar="DATASET|FILE..", nargs=-1, required=True)
@click.option(
    "--tokenizer",
    metavar="REF",
    help="Of files: `whisper`, `step-audio`, or the reference of a checkpoint or of codebooks.  "
    "[default: whisper]",
)
@click.option(
    "--vocoder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of a vocoder for these tokens, if not the one of the package.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation"]),
    help="Of a dataset, only this side.  [default: both]",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Most utterances; of more, so many are drawn.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all draws.")
@click.option(
    "--perplexity", is_flag=True, help="Train small models of each codebook and of both, and compare them."
)
@click.option(
    "--steps", type=click.IntRange(1), default=200, show_default=True, help="Of each small model's training."
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="A page with plots and sounds.",
)
@json_option
def tokens(
    places: tuple[str, ...],
    tokenizer: str | None,
    vocoder: Path | None,
    split: str | None,
    limit: int,
    seed: int,
    perplexity: bool,
    steps: int,
    report: Path | None,
    as_json: bool,
) -> None:
    """Judge tokens by the speech that a vocoder makes of them.

    Utterances (files of any format up to 30 s, directories, globs; or the turns of a dataset version that
    keeps audio) are spoken again from their tokens, and from their mel alone, which is the most that tokens
    could give. The packaged recogniser and measures listen to both and to the original. Known text comes from
    `text` (and `language`) of a file's sidecar, FILE.json. What can't be judged is set aside and counted.

    With --perplexity three small models learn to foretell linguistic codes, semantic codes, and both merged
    2:3, with the same compute, and are asked of recordings that they did not learn from. What the model of
    both draws is then spoken and judged beside what was extracted.
    """
    if report is not None and not report.parent.is_dir():
        raise click.UsageError(f"{report} is in no folder that there is")
    from pipeline.evaluation.run import EvaluationOptions, evaluate_tokens

    asked = EvaluationOptions(places, tokenizer, vocoder, split, limit, seed, steps if perplexity else None)
    found = evaluate_tokens(asked, Progress())
    if report is not None:
        from pipeline.report.tokens import render

        report.write_text(render(found), encoding="utf-8")
    if as_json:
        print_json(found.as_json())
    else:
        summarise(found)


def summarise(found: "Evaluation") -> None:
    """What a person is told."""
    if found.resynthesis:
        _resynthesis(found.resynthesis)
    if found.perplexity:
        _perplexity(found.perplexity)
    if found.sampled:
        _sampled(found.sampled)


def _resynthesis(spoken: "Resynthesis") -> None:
    from pipeline.report.tokens import TITLES, shown

    table = table_of("", "original", "mel -> wave", "tokens -> mel -> wave", "utterances", left=1)
    for name, of in spoken.measures().items():
        cells = [shown(name, of[condition]) for condition in ("original", "mel", "tokens")]
        table.add_row(TITLES[name], *cells, str(max(each.utterances for each in of.values() if each)))
    wide_console().print(table)
    told = spoken.as_json()
    counts, vocoder = told["utterances"], told["vocoder"]
    click.echo(
        f"{counts['judged']} of {counts['found']} utterances judged ({spoken.seconds:.0f} s), "
        f"{counts['set_aside']} set aside, {counts['not_drawn']} not drawn; in brackets 95 % by bootstrap"
    )
    click.echo(
        f"vocoder {vocoder['folder']} on {vocoder['device']}: {vocoder['seconds']:.1f} s "
        f"({vocoder['cpu_seconds']:.1f} s of cores) for {vocoder['of_speech']:.1f} s of speech, real-time "
        f"factor {vocoder['real_time_factor']:.2f}"
    )
    for refused in spoken.set_aside[:10]:
        click.echo(f"{refused.file}: {refused.error}", err=True)
    if len(spoken.set_aside) > 10:
        click.echo(f"and {len(spoken.set_aside) - 10} more set aside: --json lists them", err=True)


def _perplexity(found: "Comparison") -> None:
    table = table_of("codes", "perplexity", "nats a token", "nats a second", "epochs", "nats learnt", left=1)
    rows = [
        (f"{kind} alone" if kind != "both" else "both merged", kind, of) for kind, of in found.alone.items()
    ]
    for name, kind, of in rows:
        cells = (f"{found.epochs[kind]:.1f}", f"{found.learnt[kind]:.3f}")
        table.add_row(name, *_foretold(of), *cells)
    for kind, of in found.beside.items():
        table.add_row(f"{kind} beside the other", *_foretold(of), "", "")
    wide_console().print(table)
    (learnt, held), (own, others) = found.seconds.values(), found.sources.values()
    click.echo(
        f"three models of {found.parameters:,} parameters, {found.steps:,} steps of "
        f"{found.tokens_per_step:,} tokens each, on {learnt:.0f} s of {own} sources; asked of {held:.0f} s "
        f"of {others} others"
    )
    often = ", ".join(f"{name} {nats:.3f}" for name, nats in found.unigram.items())
    click.echo(f"nats a token of who knows no more than how often each code comes: {often}")


def _foretold(of: "PredictionLoss") -> tuple[str, str, str]:
    token, second = of.nats_per_token, of.nats_per_second
    return (
        f"{of.perplexity:.0f}",
        f"{token.value:.3f} [{token.low:.3f}, {token.high:.3f}]",
        f"{second.value:.1f} [{second.low:.1f}, {second.high:.1f}]",
    )


def _sampled(found: "ContinuationComparison") -> None:
    from pipeline.report.tokens import TITLES, shown

    table = table_of("", "extracted", "sampled", left=1)
    for name, of in found.measures().items():
        table.add_row(TITLES[name], shown(name, of["extracted"]), shown(name, of["sampled"]))
    wide_console().print(table)
    click.echo(
        f"{len(found.pairs)} held-out utterances, begun and gone on with; what follows is judged alone"
    )


class Progress:
    """Says a line on stderr, where the last one is a while ago."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, line: str) -> None:
        if time.monotonic() - self._last > TELL_EVERY:
            self._last = time.monotonic()
            click.echo(line, err=True)
