"""Checks of everything that can be wrong with a training, for all its stages, before a GPU is occupied."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.cluster.ray import this_machine
from pipeline.training.backbone import backbone_of
from pipeline.training.display import TrainingDisplay
from pipeline.training.planned_training import PlannedTraining
from pipeline.training.recipe import TrainingRecipe
from pipeline.training.training_folder import TrainingFolder
from schemas.errors import SetupError
from schemas.vocabulary import LayoutOptions, Vocabulary
from stages.train.config import LoRAConfig, TrainConfig
from stages.train.shape import PRESETS, Shape


def check(
    recipe: TrainingRecipe, stages: Sequence[PlannedTraining], folder: TrainingFolder, done: set[str]
) -> None:
    """Raise SetupError for the first stage whose vocabulary, shape, processes or memory don't fit."""
    from stages.train.checkpoint import is_step1
    from stages.train.opening_check import check_backbone
    from stages.train.run import Start

    vocabularies = {stage.name: stage.version.manifest.vocabulary for stage in stages}
    shapes: dict[str, Shape] = {}
    has_table: dict[str, bool] = {}
    roots: dict[str, Path | None] = {}  # checkpoints of the same kind of model; None is a preset
    for stage in stages:
        if stage.name in done:
            continue
        what = f"{stage.name}, on {stage.version.manifest.dataset}@{stage.version.id}"
        vocabulary = stage.version.manifest.vocabulary
        start = _start(recipe, stage, folder, done)
        if start is not None:
            shape = _shape_of(start, recipe)
            has_table[stage.name] = is_step1(start) or check_backbone(start)
            _refuse_other_ids(start, shape, vocabulary, what)
        elif stage.parent is None:
            shape = Start(preset=recipe.backbone.preset).blank(vocabulary["size"]).shape
        else:
            shape = shapes[stage.parent]
            has_table[stage.name] = has_table.get(stage.parent, True)
            if vocabularies[stage.parent]["sha256"] != vocabulary["sha256"]:
                raise SetupError(
                    f"{what}: the version's vocabulary is {vocabulary['name']}, but that of {stage.parent}, "
                    f"from which the stage starts, is {vocabularies[stage.parent]['name']}: their ids mean "
                    "different things. Build both versions with the same `vocabulary`"
                )
        shapes[stage.name] = shape
        _refuse_uneven(recipe, stage, what)
        _refuse_long(stage, shape, has_table.get(stage.name, True), what)
        roots[stage.name] = start or roots.get(stage.parent or "")
        config, root = stage.config.trained, roots[stage.name]
        if config.lora:
            _refuse_other_targets(root, shape, config.lora, vocabulary, what)
            is_foreign = root is not None and not is_step1(root)
            config = config.model_copy(update={"lora": config.lora.decided(is_foreign)})
        _refuse_too_large(recipe, config, shape, start, what)


def _start(
    recipe: TrainingRecipe, stage: PlannedTraining, folder: TrainingFolder, done: set[str]
) -> Path | None:
    """The checkpoint that a stage will start from, if it exists already."""
    if stage.parent in done:
        return folder.model(str(stage.parent))
    if stage.parent is not None:
        return None if stage.parent in recipe.stages else folder.checkpoint(stage.parent)
    return backbone_of(recipe, folder)


def _shape_of(checkpoint: Path, recipe: TrainingRecipe) -> Shape:
    """Raises SetupError for a checkpoint that doesn't match its config or the recipe's preset."""
    import torch

    from stages.train.backbone import blank
    from stages.train.checkpoint import checked_names, read_shape
    from stages.train.weights import SafetensorsFolder

    shape = read_shape(checkpoint)
    if recipe.backbone.preset is not None:
        preset = PRESETS[recipe.backbone.preset]
        for name in ("hidden", "ffn", "heads", "groups", "layers"):
            if getattr(shape, name) != getattr(preset, name):
                raise SetupError(
                    f"{checkpoint} has {name} {getattr(shape, name):,}, but the preset "
                    f"{recipe.backbone.preset} has {getattr(preset, name):,}: name the preset of the "
                    "checkpoint, or none"
                )
    with torch.device("meta"):
        model = blank(checkpoint)
    if (stored := checked_names(model, SafetensorsFolder(checkpoint))).left_out:
        TrainingDisplay().print(f"{checkpoint}: {stored.line}")
    return shape


def _refuse_other_ids(checkpoint: Path, shape: Shape, vocabulary: dict[str, Any], what: str) -> None:
    from stages.train.checkpoint import read_vocabulary
    from stages.train.public_checkpoint import public_vocabulary

    trained_on = read_vocabulary(checkpoint)
    if trained_on is None and (public := public_vocabulary(checkpoint)) is not None:
        _refuse_other_layout(checkpoint, public, vocabulary, what)
    if trained_on is not None and trained_on["sha256"] != vocabulary["sha256"]:
        raise SetupError(
            f"{what}: the version's ids are of the vocabulary {vocabulary['name']} "
            f"({vocabulary['size']:,} ids, {vocabulary['sha256'][:12]}), but {checkpoint} was trained on "
            f"{trained_on['name']} ({trained_on['size']:,} ids, {trained_on['sha256'][:12]}): build the "
            "version with the checkpoint's `vocabulary`"
        )
    if shape.vocabulary < vocabulary["size"]:
        raise SetupError(
            f"{what}: the version has {vocabulary['size']:,} ids and {checkpoint} only {shape.vocabulary:,}: "
            "build the version with the checkpoint's `vocabulary`"
        )


def _refuse_other_layout(checkpoint: Path, public: Vocabulary, vocabulary: dict[str, Any], what: str) -> None:
    """The system prompt may be another one than the public model's, but nothing else."""
    expected = public.describe()
    ids = ("tokenizer_sha256", "specials", "linguistic")
    differing = [key for key in ids if vocabulary[key] != expected[key]]
    options = {**asdict(LayoutOptions()), **vocabulary.get("options", {})}
    for name, value in expected["options"].items():
        if name != "default_system" and options[name] != value:
            differing.append(f"{name} {str(options[name]).lower()}")
    if differing:
        raise SetupError(
            f"{what}: the version is not laid out as {checkpoint} was trained ({', '.join(differing)}): "
            "build it with `vocabulary: {preset: step1, audio_markers: false}` and the tokenizer of that "
            "folder"
        )


def _refuse_other_targets(
    root: Path | None, shape: Shape, config: LoRAConfig, vocabulary: dict[str, Any], what: str
) -> None:
    """Raise SetupError for targets of LoRA that the model doesn't have."""
    import torch

    from stages.train.backbone import blank
    from stages.train.lora import adapt
    from stages.train.model import Step1

    with torch.device("meta"):
        model = blank(root) if root else Step1(shape)
    try:
        adapt(model, config, vocabulary)
    except SetupError as error:
        raise SetupError(f"{what}: {error}") from None


def _refuse_uneven(recipe: TrainingRecipe, stage: PlannedTraining, what: str) -> None:
    config, count = stage.config, processes(recipe)
    if count % config.tensor_parallel:
        raise SetupError(
            f"{what}: tensor_parallel {config.tensor_parallel} does not divide the {count} processes"
        )
    share = count // config.tensor_parallel * config.micro_batch
    if config.global_batch_size % share:
        raise SetupError(
            f"{what}: {count} processes can't share global_batch_size {config.global_batch_size} evenly in "
            f"micro-batches of {config.micro_batch}: make it a multiple of {share}"
        )


def _refuse_long(stage: PlannedTraining, shape: Shape, has_table: bool, what: str) -> None:
    """A foreign model without a table of positions can read longer documents than it was made for. A Step-1
    model is treated as if it had one."""
    length = stage.config.sequence_length
    if length <= shape.context:
        return
    problem = f"{what}: sequence_length {length:,} is more than the model's context, {shape.context:,}"
    if has_table:
        raise SetupError(problem)
    TrainingDisplay().print(f"{problem}: it was not made for documents of more tokens than that")


def processes(recipe: TrainingRecipe) -> int:
    return int(os.environ.get("WORLD_SIZE", recipe.workers.count))


def _refuse_too_large(
    recipe: TrainingRecipe, config: TrainConfig, shape: Shape, start: Path | None, what: str
) -> None:
    """Compare with the memory of a GPU of this machine, or with the machine's own if it has no GPU."""
    from stages.train.checkpoint import bytes_per_weight
    from stages.train.plan import MASTER, device_memory, memory_of

    gpu_memory = device_memory()
    if gpu_memory is None and (recipe.workers.gpu or os.environ.get("RAY_ADDRESS")):
        return  # other machines will train: `--plan --gpu` says what they need
    stored = bytes_per_weight(start) if start and config.lora else MASTER
    sharing = 1 if gpu_memory is not None else processes(recipe)  # processes that share this memory
    memory = memory_of(shape, config, processes(recipe), gpu_memory is not None, stored)
    limit = gpu_memory if gpu_memory is not None else this_machine().memory_gb * 1e9
    if memory.total * sharing > limit:
        raise SetupError(
            f"{what}: it takes about {memory.total * sharing / 1e9:.1f} GB, and {limit / 1e9:.1f} GB are "
            f"available ({memory.line()}): lower sequence_length or micro_batch, set "
            "activation_checkpointing, or use more GPUs; `--plan --gpus N` says how many"
        )
