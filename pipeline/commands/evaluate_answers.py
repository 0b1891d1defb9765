"""`aqaa-data evaluate answers`"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.arguments import (
    endpoint_of,
    endpoint_options,
    json_option,
    print_json,
    recipe_option,
    table_of,
    voice_option,
    wide_console,
)
from pipeline.commands.progress import Progress

if TYPE_CHECKING:
    from pipeline.evaluation.answers.results import AnswersEvaluation

RULES = "rules"


@click.command(
    epilog="Example: aqaa-data evaluate answers --benchmark builtin --model runs/early --model runs/late "
    "--limit 5 --out evaluation"
)
@recipe_option
@click.option(
    "--benchmark",
    metavar="builtin|URI",
    default="builtin",
    show_default=True,
    help="The shipped benchmark, or rows in a file, a folder or a prefix; also StepEval-Audio-360, "
    "VoiceBench, URO-Bench and VocalBench as published.",
)
@click.option(
    "--model",
    "models",
    metavar="CHECKPOINT|URL",
    multiple=True,
    required=True,
    help="Folder of a checkpoint, http(s)://HOST/v1[#MODEL] of a server with audio in chat completions, or "
    "cascade:http(s)://HOST/v1[#MODEL] for recogniser, text server and packaged voice; repeatable.",
)
@click.option(
    "--judge",
    metavar="URL|rules",
    default=RULES,
    show_default=True,
    help="http(s)://HOST/v1[#MODEL] of a server with chat completions; `rules` judges by the checks and "
    "references of the benchmark alone, which is always done too.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Rows of each dimension.  [default: all]")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("evaluation"),
    show_default=True,
    help="Folder for every answer and the report. A stopped run goes on there.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all sampling.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    default=0.7,
    show_default=True,
    help="Sampling temperature of the models.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="End an answer after this many tokens.",
)
@click.option(
    "--vocoder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of a vocoder for checkpoints, in place of the bundled one.",
)
@voice_option
@endpoint_options
@click.option(
    "--emotions",
    metavar="MODEL",
    help="Recogniser of emotions, an audio classifier of transformers: hub:ORG/NAME or file:/FOLDER.",
)
@click.option(
    "--judge-budget",
    type=click.IntRange(0),
    metavar="TOKENS",
    help="Most tokens to ask of the judge, kept verdicts included.  [default: no limit]",
)
@click.option(
    "--judge-listens", is_flag=True, help="Send the judge the recordings too; its model must take audio."
)
@json_option
def answers(
    benchmark: str,
    models: tuple[str, ...],
    judge: str,
    limit: int | None,
    out: Path,
    seed: int,
    temperature: float,
    max_tokens: int,
    vocoder: Path | None,
    voice: Path | None,
    endpoint: str | None,
    endpoint_key_file: Path | None,
    emotions: str | None,
    judge_budget: int | None,
    judge_listens: bool,
    as_json: bool,
) -> None:
    """Judge models by their spoken answers to a benchmark.

    Each row is a conversation: the model hears its questions one by one, and its own answers are the history.
    Every answer is kept (text, codes, WAV), transcribed and measured: words heard against words written,
    DNSMOS, rate, pitch, loudness, language, voice and latency. Rules check what is heard; a language model as
    a judge gives grades and compares models in both orders. What fails is listed and counted, never scored.

    OUT gets results.json and report.html. API keys are read from OPENAI_API_KEY.
    """
    from pipeline.evaluation.answers.endpoint_model import endpoint_config
    from pipeline.evaluation.answers.exchange import AnswerSampling
    from pipeline.evaluation.answers.results import AnswersOptions
    from pipeline.evaluation.answers.run import evaluate_answers
    from pipeline.report.answers import write_report

    if judge != RULES and not judge.startswith(("http://", "https://")):
        raise click.BadParameter(f"{judge!r} is neither `rules` nor an address", param_hint="--judge")
    budget = {"budget": {"tokens": judge_budget}} if judge_budget is not None else {}
    options = AnswersOptions(
        benchmark,
        models,
        out,
        None if judge == RULES else endpoint_config(judge, **budget),
        judge_listens,
        limit,
        AnswerSampling(seed, temperature, max_tokens),
        vocoder,
        emotions,
        endpoint_of(endpoint, endpoint_key_file),
        voice,
    )
    evaluation = evaluate_answers(options, Progress())
    write_report(evaluation)
    if as_json:
        print_json(evaluation.as_json())
    else:
        print_summary(evaluation)


def print_summary(evaluation: "AnswersEvaluation") -> None:
    """The scores as tables, and what failed."""
    from pipeline.report.answers import SCORE_TITLES, shown

    results = evaluation.as_json()
    for score in evaluation.scores:
        names = list(evaluation.models)
        table = table_of(SCORE_TITLES[score], *names, left=1)
        for title, of in (*((each, each) for each in evaluation.dimensions), ("all", None)):
            cells = [shown(evaluation, name, of, score) for name in names]
            if any(cells):
                table.add_row(title.replace("_", " "), *cells)
        if table.row_count:
            wide_console().print(table)
    for each in evaluation.comparisons:
        rate = each.win_rate
        if rate:
            click.echo(
                f"{each.a} against {each.b} by {each.by}: wins {rate.value:.0%} "
                f"[{100 * rate.low:.0f}, {100 * rate.high:.0f}] of {rate.utterances} rows, {each.ties} ties"
                + (f", {each.contradictions} contradicted in the other order" * bool(each.contradictions))
            )
    for name, own in results["models"].items():
        click.echo(
            f"{name}: {own['answered']} rows answered, {len(own['silent'])} with nothing, "
            f"{len(own['failed'])} failed",
            err=True,
        )
        for row, failed in list(own["failed"].items())[:10]:
            click.echo(f"  {row}: {failed['message']}", err=True)
    for line in evaluation.benchmark.refused[:10]:
        click.echo(f"not used: {line}", err=True)
    for row, why in list(evaluation.not_asked.items())[:10]:
        click.echo(f"not asked: {row}: {why}", err=True)
    for message in evaluation.judging.failures.messages[:10]:
        click.echo(f"not judged: {message}", err=True)
    click.echo(f"report: {evaluation.options.out / 'report.html'}; in brackets: 95 % bootstrap intervals")
