"""aqaa-data: raw recordings in, training data for speech-in, speech-out language models out.

The functions are documented in `pipeline.api`.
"""

from pipeline.api import (
    DataError,
    PublishedDataset,
    SetupError,
    answer,
    build,
    load_recipe,
    open_dataset,
    plan,
    tokenize,
)

__all__ = [
    "DataError",
    "PublishedDataset",
    "SetupError",
    "answer",
    "build",
    "load_recipe",
    "open_dataset",
    "plan",
    "tokenize",
]
