"""What can be wrong with a training before it starts: looked at for all its stages, before a GPU is held."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cluster.ray import this_machine
from pipeline.training.backbone import backbone_of
from pipeline.training.place import Place
from pipeline.training.recipe import TrainingRecipe
from schemas.errors import SetupError
from stages.train.shape import PRESETS, Shape

if TYPE_CHECKING:
    from pipeline.training.chain import Planned


def check(recipe: TrainingRecipe, stages: Sequence["Planned"], place: Place, done: set[str]) -> None:
    """Raise SetupError for the first stage whose vocabulary, shape, processes or memory don't fit."""
    from stages.train.run import Start

    vocabularies = {stage.name: stage.version.manifest.vocabulary for stage in stages}
    shapes: dict[str, Shape] = {}
    for stage in stages:
        if stage.name in done:
            continue
        said = f"{stage.name}, on {stage.version.manifest.dataset}@{stage.version.id}"
        vocabulary = stage.version.manifest.vocabulary
        start = _start(recipe, stage, place, done)
        if start is not None:
            shape = _shape_of(start, recipe)
            _refuse_other_ids(start, shape, vocabulary, said)
        elif stage.parent is None:
            shape = Start(preset=recipe.backbone.preset).blank(vocabulary["size"]).shape
        else:
            shape = shapes[stage.parent]
            if vocabularies[stage.parent]["sha256"] != vocabulary["sha256"]:
                raise SetupError(
                    f"{said}: the version's vocabulary is {vocabulary['name']}, and that of {stage.parent}, "
                    f"from which the stage starts, is {vocabularies[stage.parent]['name']}: their ids mean "
                    "different things. Build both versions with the same `vocabulary`"
                )
        shapes[stage.name] = shape
        _refuse_uneven(recipe, stage, shape, said)
        _refuse_too_large(recipe, stage, shape, said)


def _start(recipe: TrainingRecipe, stage: "Planned", place: Place, done: set[str]) -> Path | None:
    """The checkpoint that a stage will begin with, where it is there already."""
    if stage.parent in done:
        return place.model(str(stage.parent))
    if stage.parent is not None:
        return None if stage.parent in recipe.stages else place.checkpoint(stage.parent)
    return backbone_of(recipe, place)


def _shape_of(checkpoint: Path, recipe: TrainingRecipe) -> Shape:
    """Raises SetupError for a checkpoint that is not what its config or the recipe's preset say."""
    import torch

    from stages.train.backbone import blank
    from stages.train.checkpoint import read_shape
    from stages.train.weights import Weights

    shape = read_shape(checkpoint)
    if recipe.backbone.preset is not None:
        wanted = PRESETS[recipe.backbone.preset]
        for name in ("hidden", "ffn", "heads", "groups", "layers"):
            if getattr(shape, name) != getattr(wanted, name):
                raise SetupError(
                    f"{checkpoint} has {name} {getattr(shape, name):,} and the preset "
                    f"{recipe.backbone.preset} {getattr(wanted, name):,}: name the preset of the checkpoint, "
                    "or none"
                )
    with torch.device("meta"):
        tensors = blank(checkpoint).state_dict()
    specs = Weights(checkpoint).specs
    for name, tensor in tensors.items():
        found = specs.get(name)
        if found is None or found.shape != tuple(tensor.shape):
            has = "is missing" if found is None else f"is {list(found.shape)}"
            raise SetupError(f"{checkpoint}: {name} {has}, not {list(tensor.shape)} as config.json says")
    return shape


def _refuse_other_ids(checkpoint: Path, shape: Shape, vocabulary: dict[str, Any], said: str) -> None:
    from stages.train.checkpoint import read_vocabulary

    known = read_vocabulary(checkpoint)
    if known is not None and known["sha256"] != vocabulary["sha256"]:
        raise SetupError(
            f"{said}: the version's ids are of the vocabulary {vocabulary['name']} "
            f"({vocabulary['size']:,} ids, {vocabulary['sha256'][:12]}), and {checkpoint} was trained on "
            f"{known['name']} ({known['size']:,} ids, {known['sha256'][:12]}): build the version with the "
            "checkpoint's `vocabulary`"
        )
    if shape.vocabulary < vocabulary["size"]:
        raise SetupError(
            f"{said}: the version has {vocabulary['size']:,} ids and {checkpoint} only {shape.vocabulary:,}: "
            "build the version with the checkpoint's `vocabulary`"
        )


def _refuse_uneven(recipe: TrainingRecipe, stage: "Planned", shape: Shape, said: str) -> None:
    config, count = stage.config, processes(recipe)
    if count % config.tensor_parallel:
        raise SetupError(
            f"{said}: tensor_parallel {config.tensor_parallel} does not divide the {count} processes"
        )
    share = count // config.tensor_parallel * config.micro_batch
    if config.global_batch_size % share:
        raise SetupError(
            f"{said}: {count} processes can't share global_batch_size {config.global_batch_size} evenly in "
            f"micro-batches of {config.micro_batch}: make it a multiple of {share}"
        )
    if config.sequence_length > shape.context:
        raise SetupError(
            f"{said}: sequence_length {config.sequence_length:,} is more than the model's context, "
            f"{shape.context:,}"
        )


def processes(recipe: TrainingRecipe) -> int:
    return int(os.environ.get("WORLD_SIZE", recipe.workers.count))


def _refuse_too_large(recipe: TrainingRecipe, stage: "Planned", shape: Shape, said: str) -> None:
    """Against the memory of a GPU of this machine, or against its own where none is used."""
    from stages.train.plan import device_memory, memory_of

    at_hand = device_memory()
    if at_hand is None and (recipe.workers.gpu or os.environ.get("RAY_ADDRESS")):
        return  # the machines that will train are others: `--plan --gpu` says what they need
    here = 1 if at_hand is not None else processes(recipe)  # processes that share this memory
    memory = memory_of(shape, stage.config.trained, processes(recipe), on_gpu=at_hand is not None)
    limit = at_hand if at_hand is not None else this_machine().memory_gb * 1e9
    if memory.total * here > limit:
        raise SetupError(
            f"{said}: it takes about {memory.total * here / 1e9:.1f} GB and there are {limit / 1e9:.1f} "
            f"({memory.line()}): lower sequence_length or micro_batch, set "
            "activation_checkpointing, or take more GPUs; `--plan --gpus N` says how many"
        )
