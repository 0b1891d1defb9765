"""A training as a Ray job on Kubernetes: as many nodes as its processes fill."""

import math
from collections.abc import Iterator, Sequence

from pipeline.config.yaml_config import read_yaml
from pipeline.kubernetes.overlays import Resource
from pipeline.kubernetes.rayjob import GPU, SCRATCH, OverlayJob, job_name, of_node
from pipeline.models import is_reference
from pipeline.storage.uri import local_path, normalize_uri
from pipeline.training import recipe as language_model
from pipeline.training import vocoder
from pipeline.training.recipe import TrainingRecipe, WorkersConfig
from pipeline.training.vocoder import VocoderRecipe
from pipeline.versions.reader import Reference
from schemas.errors import SetupError

RUNS = "/runs"
"""Where an overlay for trainings mounts the volume that all nodes share. A training that names no folder on
it does without."""


def is_training(path: str) -> bool:
    """Whether a recipe trains a model or a vocoder. Raises SetupError for a file that isn't a recipe."""
    return not {"backbone", vocoder.SECTION}.isdisjoint(read_yaml(path).values)


def load(path: str, settings: Sequence[str] = ()) -> TrainingRecipe | VocoderRecipe:
    """Read the recipe of a training. Raises SetupError."""
    if vocoder.is_vocoder(path):
        return vocoder.load(path, settings)
    return language_model.load(path, settings)


def training_resources(
    recipe: TrainingRecipe | VocoderRecipe, overlay: str, image: str | None = None
) -> list[Resource]:
    """The resources that run a training, the RayJob last, with the nodes that `workers` fill.

    Raises SetupError for an overlay that can't be used or whose nodes don't suit the workers, and for a
    recipe with paths that the cluster can't read.
    """
    rendered = OverlayJob.rendered(overlay, "train")
    if isinstance(recipe, TrainingRecipe):
        recipe = recipe.model_copy(update={"scratch": _scratch(recipe, rendered)})
    places = list(_uris(recipe))
    rendered.check_paths(places)
    on_nodes = (recipe.scratch, recipe.copy_shards_to) if isinstance(recipe, TrainingRecipe) else ()
    if not any(_is_below(place, RUNS) for place in (*(place for _, place in places), *on_nodes) if place):
        rendered.unmount(RUNS)
    _set_nodes(rendered, recipe.workers)
    # Whole: a stage's default isn't what `train` shares. A section that is null would be one with defaults.
    values = {name: value for name, value in recipe.model_dump(mode="json").items() if value is not None}
    return rendered.filled(job_name(recipe.name, "aqaa-data-train"), values, image)


def _scratch(recipe: TrainingRecipe, rendered: OverlayJob) -> str | None:
    """Where each node has its copies. Raises SetupError for a place that no volume is mounted at."""
    if recipe.scratch is None:
        # Where an earlier release had copies: runs that were started from one are recorded with its folder.
        if RUNS in rendered.mounts and _is_below(recipe.output, RUNS):
            return RUNS
        return SCRATCH if SCRATCH in rendered.mounts else None
    if not any(_is_below(recipe.scratch, mount) for mount in rendered.mounts):
        raise SetupError(
            f"scratch: {rendered.folder} mounts no volume at {recipe.scratch}: use {SCRATCH}, or leave it out"
        )
    return recipe.scratch


def _is_below(place: str, folder: str) -> bool:
    uri = normalize_uri(place)
    return uri.startswith("file://") and local_path(uri).is_relative_to(folder)


def _set_nodes(rendered: OverlayJob, workers: WorkersConfig) -> None:
    """Have as many nodes as the workers fill, from the start: none of them can train without the others."""
    suitable = [group for group in rendered.groups if (of_node(group, GPU) > 0) == workers.gpu]
    if not suitable:
        raise SetupError(
            f"workers.gpu is {str(workers.gpu).lower()}, and {rendered.folder} has no group of nodes "
            f"{'with' if workers.gpu else 'without'} GPUs: change one of them"
        )
    group = suitable[0]
    cores = of_node(group, "cpu")
    fits = math.floor(cores / workers.cpus)
    if workers.gpu:
        fits = min(fits, math.floor(of_node(group, GPU)))
    if not fits:
        raise SetupError(
            f"a worker needs {workers.cpus:g} cores (workers.cpus), and a node of {group['groupName']} in "
            f"{rendered.folder} has {cores:g}"
        )
    nodes = math.ceil(workers.count / fits)
    group.update(replicas=nodes, minReplicas=nodes, maxReplicas=nodes)


def _uris(recipe: TrainingRecipe | VocoderRecipe) -> Iterator[tuple[str, str]]:
    """Keys and values that name a place."""
    yield "output", recipe.output
    yield "dataset", Reference.parse(recipe.dataset).root
    if isinstance(recipe, VocoderRecipe):
        if recipe.vocoder.sentences:
            yield "vocoder.sentences", recipe.vocoder.sentences
        return
    for name, stage in recipe.stages.items():
        yield f"{name}.dataset", Reference.parse(str(stage.dataset)).root
        if stage.start:
            yield from _checkpoints(f"{name}.start", stage.start)
    if recipe.backbone.checkpoint:
        yield from _checkpoints("backbone.checkpoint", recipe.backbone.checkpoint)
    for source in recipe.merge.weights if recipe.merge else ():
        yield from _checkpoints("merge.weights", source)
    if recipe.evaluate and recipe.evaluate.benchmark != "builtin":
        yield "evaluate.benchmark", recipe.evaluate.benchmark
    if recipe.evaluate and recipe.evaluate.vocoder:
        yield "evaluate.vocoder", recipe.evaluate.vocoder


def _checkpoints(key: str, source: str) -> Iterator[tuple[str, str]]:
    """A checkpoint that is neither a stage of the chain nor a reference."""
    if "/" in source and not is_reference(source):
        yield key, source
