"""The weights that a chain starts from."""

from pathlib import Path

from pipeline.training.launch import is_first
from pipeline.training.recipe import TrainingRecipe
from pipeline.training.training_folder import CONFIG, TrainingFolder, built_once
from schemas.errors import SetupError

EXTENDED = "backbone"
"""Folder of a foreign language model with the audio vocabulary added."""
ORIGIN = "origin.txt"
"""File in it with the name of the model, as the recipe has it. Those of earlier releases lack it."""


def backbone_of(recipe: TrainingRecipe, folder: TrainingFolder) -> Path | None:
    """The recipe's checkpoint on this machine, None for random weights. A foreign language model is extended
    with the audio vocabulary first, once. Raises SetupError if the checkpoint can't be trained, or if
    what the training has extended is another one."""
    if recipe.backbone.checkpoint is None:
        return None
    from stages.train.checkpoint import is_step1, read_vocabulary

    checkpoint = folder.checkpoint(recipe.backbone.checkpoint)
    if is_step1(checkpoint) or read_vocabulary(checkpoint) is not None:
        return checkpoint
    extended = _extended(checkpoint, recipe.backbone.checkpoint, folder)
    file = extended / ORIGIN
    origin = file.read_text() if file.exists() else recipe.backbone.checkpoint
    if origin != recipe.backbone.checkpoint:
        raise SetupError(
            f"{folder.store.join(EXTENDED)} extends {origin}, and now backbone.checkpoint is "
            f"{recipe.backbone.checkpoint}: choose another output or recipe name, or remove it"
        )
    return extended


def _extended(checkpoint: Path, origin: str, folder: TrainingFolder) -> Path:
    from stages.train.backbone import extend
    from stages.train.opening_check import check_backbone

    is_local = folder.store.is_local
    if not is_local and (not is_first() or folder.store.exists(f"{EXTENDED}/{CONFIG}")):
        return folder.awaited(EXTENDED)
    extended = folder.stage(EXTENDED) if is_local else folder.own / EXTENDED
    if not extended.exists():
        with built_once(extended, complete_with=CONFIG) as partial:
            extend(checkpoint, partial)
            (partial / ORIGIN).write_text(origin)
            check_backbone(partial)  # here too, as a refused model must leave no folder for the next one
    return extended if is_local else folder.publish_model(extended, EXTENDED)
