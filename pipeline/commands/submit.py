"""`aqaa-data submit`"""

import sys

import click

from pipeline.commands.arguments import json_option, print_json, recipe_names, settings_option
from pipeline.commands.extras import require_extra

NO_PARTITIONS = "--partition names one of a build's recipe with `partitions`"


@click.command(epilog="Example: aqaa-data submit recipe.yaml --overlay h100 --image my.registry/aqaa-data:1")
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.option(
    "--overlay",
    required=True,
    help="Name of a folder in infra/overlays, such as h100, or the path of an overlay.",
)
@click.option("--image", help="Image of all nodes, instead of the overlay's.")
@click.option("--namespace", help="Namespace, instead of the kubeconfig's.")
@settings_option("select.words_min=2")
@click.option(
    "--partition",
    "partitions",
    metavar="NAME",
    multiple=True,
    help="Build only this partition of the recipe's, beside other jobs; repeatable.",
)
@click.option(
    "--max-gpu-hours",
    type=click.FloatRange(0, min_open=True),
    help="Stop a build once GPUs have been held for this many hours.",
)
@click.option("--dry-run", is_flag=True, help="Print the resources without submitting them.")
@json_option
def submit(
    recipe: str,
    overlay: str,
    image: str | None,
    namespace: str | None,
    settings: tuple[str, ...],
    partitions: tuple[str, ...],
    max_gpu_hours: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a build, a training or an evaluation on Kubernetes as a Ray job, and follow it until it ends.

    RECIPE is that of `build`, `train`, `evaluate answers` or `evaluate tokens`, and the overlay runs that
    command: h100 builds, h100-train trains, h100-evaluate evaluates. Needs the KubeRay operator in the
    cluster and an image (infra/README.md). Ctrl-C leaves the job running.
    """
    from pipeline import api
    from pipeline.commands.evaluate import evaluate
    from pipeline.evaluation import recipe as evaluation_recipe
    from pipeline.kubernetes.client import Cluster
    from pipeline.kubernetes.overlays import as_yaml
    from pipeline.kubernetes.rayjob import check_images, job_resources
    from pipeline.training import cluster_job
    from schemas.errors import SetupError

    evaluated_by = evaluation_recipe.command_of(recipe)
    is_training = cluster_job.is_training(recipe)
    if max_gpu_hours is not None and (evaluated_by or is_training):
        raise click.UsageError(
            "--max-gpu-hours is for builds: trainings and evaluations end with their steps and rows"
        )
    if partitions and (evaluated_by or is_training):
        raise click.UsageError(NO_PARTITIONS)
    if evaluated_by:
        # Imported here because it imports torch, which takes seconds.
        from pipeline.kubernetes.evaluation_job import evaluation_resources

        names = recipe_names(evaluate.commands[evaluated_by])
        evaluation = evaluation_recipe.load(recipe, evaluated_by, names, settings)
        *others, job = evaluation_resources(evaluation, overlay, image)
    elif is_training:
        *others, job = cluster_job.training_resources(cluster_job.load(recipe, settings), overlay, image)
    else:
        loaded = api.load_recipe(recipe, *settings)
        if partitions and not loaded.partitions:
            raise click.UsageError(NO_PARTITIONS)
        options = () if max_gpu_hours is None else ("--max-gpu-hours", f"{max_gpu_hours:g}")
        *others, job = job_resources(loaded, overlay, image, options, partitions)
    name = job["metadata"]["name"]
    if dry_run:
        if as_json:
            print_json({"job": name, "resources": [*others, job]})
        else:
            click.echo(as_yaml([*others, job]), nl=False)
        return
    check_images(job)
    require_extra("kubernetes")
    cluster = Cluster(namespace)
    for resource in others:
        cluster.apply(resource)
    cluster.start(job)
    click.echo(f"submitted {name} to {cluster.namespace} of {cluster.host}", err=True)
    state = None
    try:
        for state in cluster.follow(name):
            click.echo(f"  {state}", err=True)
    except KeyboardInterrupt:
        click.echo(f"{name} keeps running; show it with: {cluster.show_command(name)}", err=True)
        sys.exit(1)
    if state is None or not state.succeeded:
        raise SetupError(
            f"{name} ended as {state}\nCommitted work is kept; run the same command again to resume"
        )
    if as_json:
        print_json({"job": name, "namespace": cluster.namespace, "status": state.job})
    else:
        click.echo(f"{name} has completed: {state.message or state.job}")
