"""The weights that a chain begins with."""

import os
from contextlib import suppress
from pathlib import Path

from pipeline.training.place import Place
from pipeline.training.recipe import TrainingRecipe

EXTENDED = "backbone"
"""Folder of a foreign model with the audio vocabulary."""


def backbone_of(recipe: TrainingRecipe, place: Place) -> Path | None:
    """The recipe's checkpoint on this machine, None for random weights. A foreign language model gets the
    audio vocabulary first, once. Raises SetupError where it is no model that can be trained."""
    if recipe.backbone.checkpoint is None:
        return None
    from stages.train.backbone import extend
    from stages.train.checkpoint import is_step1, read_vocabulary

    folder = place.checkpoint(recipe.backbone.checkpoint)
    if is_step1(folder) or read_vocabulary(folder) is not None:
        return folder
    extended = place.stage(EXTENDED)
    if not extended.exists():
        partial = place.folder / f".{EXTENDED}.{os.getpid()}"
        extend(folder, partial)
        with suppress(OSError):  # another process of this training was first
            partial.rename(extended)
    return extended
