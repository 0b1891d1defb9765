"""`aqaa-data evaluate`"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.arguments import json_option, print_json, recipe_option, table_of, wide_console
from pipeline.commands.evaluate_answers import answers
from pipeline.commands.progress import Progress

if TYPE_CHECKING:
    from pipeline.evaluation.continuations import ContinuationComparison
    from pipeline.evaluation.perplexity import Comparison, PredictionLoss
    from pipeline.evaluation.resynthesis import Resynthesis
    from pipeline.evaluation.run import Evaluation


@click.group()
def evaluate() -> None:
    """Measure the quality of speech tokens, and of a model's answers."""


evaluate.add_command(answers)


@evaluate.command(epilog="Example: aqaa-data evaluate tokens --report tokens.html recordings/*.wav")
@recipe_option
@click.argument("inputs", metavar="DATASET|FILE..", nargs=-1, required=True)
@click.option(
    "--tokenizer",
    metavar="REF",
    help="For files: `whisper`, `step-audio`, or the reference of a checkpoint or of codebooks.  "
    "[default: whisper]",
)
@click.option(
    "--vocoder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of a vocoder for these tokens, in place of the bundled one.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation"]),
    help="Only this split of a dataset.  [default: both]",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Most utterances; from a larger set this many are drawn.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all sampling.")
@click.option(
    "--perplexity", is_flag=True, help="Train and compare small models of each codebook and of both."
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Training steps of each small model.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write a page with plots and audio.",
)
@json_option
def tokens(
    inputs: tuple[str, ...],
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
    """Judge tokens by the speech that a vocoder makes from them.

    Utterances (files of any format up to 30 s, directories, globs; or the turns of a dataset version that
    keeps audio) are resynthesized from their tokens, and from their mel spectrogram only, an upper bound for
    tokens. Both and the original are scored by the packaged recogniser and quality models. The written text
    comes from `text` (and `language`) of a file's sidecar, FILE.json. Utterances that can't be judged are set
    aside and counted.

    With --perplexity three small models are trained with the same compute to predict linguistic codes,
    semantic codes, and both merged 2:3, and tested on held-out recordings. Codes sampled from the model of
    both are then synthesized and scored in comparison with extracted codes.
    """
    if report is not None and not report.parent.is_dir():
        raise click.UsageError(f"the folder of {report} doesn't exist")
    from pipeline.evaluation.run import EvaluationOptions, evaluate_tokens

    options = EvaluationOptions(inputs, tokenizer, vocoder, split, limit, seed, steps if perplexity else None)
    evaluation = evaluate_tokens(options, Progress())
    if report is not None:
        from pipeline.report.tokens import render

        report.write_text(render(evaluation), encoding="utf-8")
    if as_json:
        print_json(evaluation.as_json())
    else:
        print_summary(evaluation)


def print_summary(evaluation: "Evaluation") -> None:
    """The results as tables and sentences."""
    if evaluation.resynthesis:
        _resynthesis(evaluation.resynthesis)
    if evaluation.perplexity:
        _perplexity(evaluation.perplexity)
    if evaluation.sampled:
        _sampled(evaluation.sampled)


def _resynthesis(result: "Resynthesis") -> None:
    from pipeline.report.tokens import NAMES, TITLES, shown

    names = [NAMES[condition].replace("→", "->") for condition in result.conditions]
    table = table_of("", *names, "utterances", left=1)
    for name, estimates in result.measures().items():
        cells = [shown(name, estimates[condition]) for condition in result.conditions]
        table.add_row(TITLES[name], *cells, str(max(e.utterances for e in estimates.values() if e)))
    wide_console().print(table)
    values = result.as_json()
    counts, vocoder = values["utterances"], values["vocoder"]
    click.echo(
        f"{counts['judged']} of {counts['found']} utterances judged ({result.seconds:.0f} s), "
        f"{counts['set_aside']} set aside, {counts['not_drawn']} not drawn; "
        "in brackets: 95 % bootstrap intervals"
    )
    click.echo(
        f"vocoder {vocoder['folder']} on {vocoder['device']}: {vocoder['seconds']:.1f} s "
        f"({vocoder['cpu_seconds']:.1f} s of CPU time) for {vocoder['of_speech']:.1f} s of speech, real-time "
        f"factor {vocoder['real_time_factor']:.2f}"
    )
    for refused in result.set_aside[:10]:
        click.echo(f"{refused.file}: {refused.error}", err=True)
    if len(result.set_aside) > 10:
        click.echo(f"and {len(result.set_aside) - 10} more were set aside: --json lists them", err=True)


def _perplexity(result: "Comparison") -> None:
    table = table_of(
        "codes", "perplexity", "nats per token", "nats per second", "epochs", "training nats", left=1
    )
    for kind, loss in result.alone.items():
        name = f"{kind} alone" if kind != "both" else "both merged"
        cells = (f"{result.epochs[kind]:.1f}", f"{result.learnt[kind]:.3f}")
        table.add_row(name, *_cells(loss), *cells)
    for kind, loss in result.beside.items():
        table.add_row(f"{kind} beside the other", *_cells(loss), "", "")
    wide_console().print(table)
    (trained_seconds, held_seconds), (trained, held) = result.seconds.values(), result.sources.values()
    click.echo(
        f"three models of {result.parameters:,} parameters, {result.steps:,} steps of "
        f"{result.tokens_per_step:,} tokens each, trained on {trained_seconds:.0f} s of {trained} sources; "
        f"tested on {held_seconds:.0f} s of {held} others"
    )
    unigram = ", ".join(f"{name} {nats:.3f}" for name, nats in result.unigram.items())
    click.echo(f"nats per token of a unigram model: {unigram}")


def _cells(loss: "PredictionLoss") -> tuple[str, str, str]:
    token, second = loss.nats_per_token, loss.nats_per_second
    return (
        f"{loss.perplexity:.0f}",
        f"{token.value:.3f} [{token.low:.3f}, {token.high:.3f}]",
        f"{second.value:.1f} [{second.low:.1f}, {second.high:.1f}]",
    )


def _sampled(result: "ContinuationComparison") -> None:
    from pipeline.report.tokens import TITLES, shown

    table = table_of("", "extracted", "sampled", left=1)
    for name, sides in result.measures().items():
        table.add_row(TITLES[name], shown(name, sides["extracted"]), shown(name, sides["sampled"]))
    wide_console().print(table)
    click.echo(f"{len(result.pairs)} held-out utterances were continued; only the continuations are scored")
