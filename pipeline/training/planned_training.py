"""A stage of the chain that is about to be trained."""

from dataclasses import dataclass

from pipeline.training.recipe import StageConfig
from pipeline.versions.reader import Version


@dataclass(frozen=True)
class PlannedTraining:
    """A stage, with everything that it needs resolved."""

    name: str
    config: StageConfig
    version: Version
    parent: str | None
    """Name of a stage, or path or URI of a checkpoint; None for the recipe's backbone."""
    documents: dict[str, int]
    """Number of documents of the version that were chosen, and that were left out by reason."""
