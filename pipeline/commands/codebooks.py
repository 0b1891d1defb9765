"""`aqaa-data codebooks`"""

from pathlib import Path

import click

from pipeline.commands.arguments import json_option, print_json, renamed_option


@click.group()
def codebooks() -> None:
    """Fit codebooks for the whisper tokenizer."""


@codebooks.command(epilog="Example: aqaa-data codebooks fit --input recordings --out codebooks/calls")
@click.option(
    "--recipe", type=click.Path(dir_okay=False), help="Recipe to take inputs, decoding and model from."
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    help="File, directory or glob to use instead of the recipe's inputs; repeatable.",
)
@renamed_option(
    "--held",
    "--holdout",
    multiple=True,
    help="Recordings to measure codebook use on; excluded from the fit. Repeatable.",
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory to create."
)
@click.option("--model", help="Whisper model reference.  [default: the recipe's, or package:whisper-base]")
@click.option(
    "--method",
    type=click.Choice(("trained", "kmeans")),
    default="trained",
    show_default=True,
    help="trained: codes from which the model's decoder can read the words; kmeans: clusters of its states "
    "and of acoustic features, in minutes.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=6000, show_default=True, help="trained: steps of training."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the training or clustering.")
@json_option
def fit(
    recipe: str | None,
    inputs: tuple[str, ...],
    holdout: tuple[str, ...],
    out: Path,
    model: str | None,
    method: str,
    steps: int,
    seed: int,
    as_json: bool,
) -> None:
    """Train or fit codebooks on the speech of recordings, and write them with a model card.

    Use them in a recipe with `tokenize: {codebooks: file:/path/to/out}` and the same model. Recordings that
    can't be used are reported and skipped. A training that was stopped goes on when the same command is run
    again.
    """
    if not recipe and not inputs:
        raise click.UsageError("name recordings with --input, or a recipe that has inputs with --recipe")
    from pipeline.codebooks.fit import fit as fit_codebooks
    from pipeline.codebooks.train import train as train_codes
    from pipeline.config.recipe import load
    from stages.decode.config import DecodeConfig
    from stages.tokenize.config import TokenizeConfig
    from stages.tokenize.fit import FitConfig
    from stages.tokenize.trained.train import CodesTrainConfig

    decode, tokenize = DecodeConfig(), TokenizeConfig()
    if recipe:
        loaded = load(recipe, inputs=inputs)
        inputs, decode, tokenize = loaded.inputs, loaded.decode, loaded.tokenize
    model = model or tokenize.model

    def progress(line: str) -> None:
        click.echo(line, err=True)

    if method == "trained":
        config = CodesTrainConfig(steps=steps, seed=seed)
        report = train_codes(inputs, out, model, config, holdout, decode, progress)
    else:
        report = fit_codebooks(inputs, out, model, FitConfig(seed=seed), holdout, decode, progress)
    for name, reason in report.fitted.data.refused.items():
        click.echo(f"{name}: {reason}", err=True)
    if as_json:
        print_json(report.as_json())
        return
    data, linguistic, semantic = report.fitted.data, report.fitted.linguistic, report.fitted.semantic
    click.echo(
        f"{out}: codebooks from {data.speech_seconds / 60:.1f} minutes of speech in {data.recordings} "
        f"recordings; they use {linguistic.share:.1%} of the linguistic and {semantic.share:.1%} of the "
        "semantic entries"
    )
