"""The weights that a chain starts from."""

from pathlib import Path

from pipeline.training.launch import is_first
from pipeline.training.recipe import TrainingRecipe
from pipeline.training.training_folder import CONFIG, TrainingFolder, built_once

EXTENDED = "backbone"
"""Folder of a foreign language model with the audio vocabulary added."""


def backbone_of(recipe: TrainingRecipe, folder: TrainingFolder) -> Path | None:
    """The recipe's checkpoint on this machine, None for random weights. A foreign language model is extended
    with the audio vocabulary first, once. Raises SetupError if the checkpoint can't be trained."""
    if recipe.backbone.checkpoint is None:
        return None
    from stages.train.backbone import extend
    from stages.train.checkpoint import is_step1, read_vocabulary
    from stages.train.opening_check import check_backbone

    checkpoint = folder.checkpoint(recipe.backbone.checkpoint)
    if is_step1(checkpoint) or read_vocabulary(checkpoint) is not None:
        return checkpoint
    is_local = folder.store.is_local
    if not is_local and (not is_first() or folder.store.exists(f"{EXTENDED}/{CONFIG}")):
        return folder.awaited(EXTENDED)
    extended = folder.stage(EXTENDED) if is_local else folder.own / EXTENDED
    if not extended.exists():
        with built_once(extended, complete_with=CONFIG) as partial:
            extend(checkpoint, partial)
            check_backbone(partial)  # here too, as a refused model must leave no folder for the next one
    return extended if is_local else folder.publish_model(extended, EXTENDED)
