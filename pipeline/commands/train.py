"""`aqaa-data train`"""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pipeline.commands.arguments import (
    ReferenceType,
    json_option,
    print_json,
    settings_option,
    table_of,
    wide_console,
)
from pipeline.commands.extras import require_extra

if TYPE_CHECKING:
    from pipeline.training.recipe import TrainingRecipe
    from pipeline.training.results import StageResult
    from pipeline.versions.reader import Reference


@click.command(epilog="Example: aqaa-data train recipe.yaml --dataset datasets/demo@latest --stage sft1")
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.option("--dataset", type=ReferenceType(), help="Train on this version instead of the recipe's.")
@click.option("--output", metavar="URI", help="Where trainings are stored, instead of the recipe's output.")
@click.option(
    "--stage",
    "stages",
    metavar="NAME",
    multiple=True,
    help="Run only this stage of the chain; may be repeated.",
)
@settings_option("sft1.learning_rate=1e-5")
@click.option(
    "--plan", "only_plan", is_flag=True, help="Print the memory and hours it would take; train nothing."
)
@click.option("--gpus", type=click.IntRange(1), help="Number of GPUs to plan for.")
@click.option("--gpu", help="Kind of GPU to plan for.  [default: h100]")
@click.option(
    "--mfu",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the GPU's peak to plan for.  [default: 0.4]",
)
@json_option
def train(
    recipe: str,
    dataset: "Reference | None",
    output: str | None,
    stages: tuple[str, ...],
    settings: tuple[str, ...],
    only_plan: bool,
    gpus: int | None,
    gpu: str | None,
    mfu: float | None,
    as_json: bool,
) -> None:
    """Train a model on a dataset version, stage by stage, as described in RECIPE.

    Stages that are done are skipped, and a stopped stage resumes from its last checkpoint. Ray Train starts
    several processes if the recipe's `workers` request them; torchrun can start them too:

    torchrun --nproc-per-node 8 --no-python aqaa-data train recipe.yaml

    A recipe with a `vocoder` section trains a token vocoder, from a version that keeps audio.
    """
    if not only_plan:
        require_extra("train")
    from pipeline.training import vocoder
    from pipeline.training.launch import is_first

    if vocoder.is_vocoder(recipe):
        if stages or only_plan or gpus or gpu or mfu:
            raise click.UsageError(
                "a vocoder recipe has no stages and no plan: remove --stage, --plan, --gpus, --gpu and --mfu"
            )
        loaded_vocoder = vocoder.load(recipe, settings, str(dataset) if dataset else None, output)
        trained = vocoder.train(loaded_vocoder)
        if as_json and is_first():
            print_json(asdict(trained))
        elif is_first():
            click.echo(f"vocoder {'was done already' if trained.skipped else 'trained'}: {trained.vocoder}")
        return
    from pipeline.training.recipe import load

    loaded = load(recipe, settings, str(dataset) if dataset else None, output)
    if only_plan:
        from pipeline.training.planning import plan_of

        planned = plan_of(loaded, stages, gpus, gpu or "h100", mfu or 0.4)
        if as_json:
            print_json(planned.facts())
        else:
            click.echo(planned.text())
        return
    if gpus or gpu or mfu:
        raise click.UsageError(
            "--gpus, --gpu and --mfu only work with --plan; to train, set the recipe's `workers`"
        )
    from pipeline.training.chain import train as run

    results = run(loaded, stages)
    if not is_first():
        return
    if as_json:
        print_json({"training": loaded.name, "stages": [asdict(result) for result in results]})
    else:
        summarise(loaded, results)


def summarise(recipe: "TrainingRecipe", results: list["StageResult"]) -> None:
    """Print the results for a person."""
    table = table_of("stage", "steps", "minutes", "loss", "text", "linguistic", "semantic", "model", left=1)
    for result in results:
        before, after = result.before or {}, result.after or {}
        losses = [
            f"{before[name]:.3f} -> {after[name]:.3f}" if name in before and name in after else ""
            for name in ("loss", "text", "linguistic", "semantic")
        ]
        minutes = "done already" if result.seconds is None else f"{result.seconds / 60:.1f}"
        table.add_row(result.stage, f"{result.steps or ''}", minutes, *losses, result.model)
    table.columns[-1].justify = "left"
    wide_console().print(table)
    for result in results:
        if result.validation:
            parts = ", ".join(f"{name} {loss:.3f}" for name, loss in result.validation["modalities"].items())
            click.echo(f"{result.stage}: validation loss {result.validation['loss']:.3f} ({parts})")
        if result.answers:
            wanted = ("rules", "grammar", "silent", "failed")
            shares = {name: result.answers[name] for name in wanted if name in result.answers}
            told = ", ".join(f"{name} {value:.0%}" for name, value in shares.items())
            click.echo(f"{result.stage}: answers at the end of its training: {told}")
        if result.after and "margin" in result.after:
            after = result.after
            drift = [after[f"audio_drift_{side}"] for side in ("chosen", "rejected")]
            click.echo(
                f"{result.stage}: margin {after['margin']:.3f}, {after['accuracy']:.0%} of pairs preferred; "
                f"drift of audio per token {drift[0]:+.4f} in chosen and {drift[1]:+.4f} in rejected answers"
            )
