"""A vocoder's training by recipe: the speech of a version that keeps audio, a folder, a finished vocoder."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import Any, BinaryIO, cast

from pydantic import Field

from pipeline.ids import codes_of
from pipeline.settings import beside, read
from pipeline.storage import Store
from pipeline.training.lineage import note_use
from pipeline.uri import normal
from pipeline.versions import Reference, Version, open_version
from schemas.errors import SetupError
from stages.stage import Config
from stages.train.vocoder.config import VocoderTrainConfig

SECTION = "vocoder"
"""Of a recipe that trains a vocoder, and no language model."""
LOG_EVERY = 30.0
"""Seconds between lines."""


class VocoderRecipe(Config):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of the training's folder")
    dataset: str = Field(description="[URI/]NAME[@VERSION|@TAG] of a version with keep_audio")
    output: str = Field("runs", description="directory where trainings are kept")
    vocoder: VocoderTrainConfig = VocoderTrainConfig()


@dataclass(frozen=True)
class VocoderResult:
    vocoder: str
    """Folder."""
    skipped: bool
    """Whether it was finished before."""
    utterances: int
    seconds: float


def is_vocoder(path: str) -> bool:
    """Whether a recipe is of a vocoder. Raises SetupError for a file that is none."""
    return SECTION in read(path).values


def load(
    path: str, settings: Sequence[str] = (), dataset: str | None = None, output: str | None = None
) -> VocoderRecipe:
    """Read a recipe. Places in it are relative to its own directory. Raises SetupError."""
    written = read(path, settings)
    if written.values[SECTION] is None:
        written.values[SECTION] = {}
    recipe = written.checked(VocoderRecipe)
    placed = beside(written.file, recipe.dataset) if "/" in recipe.dataset else recipe.dataset
    output = normal(output or beside(written.file, recipe.output))
    if not Store(output).is_local:
        raise SetupError(f"a vocoder is trained into a directory, not {output}: name one as `output`")
    return recipe.model_copy(update={"dataset": dataset or placed, "output": output})


def train(recipe: VocoderRecipe) -> VocoderResult:
    """Train, or go on with what was stopped. Raises SetupError."""
    import torch

    from stages.train.folder import MODEL
    from stages.train.vocoder.train import train_vocoder

    version = open_version(Reference.parse(recipe.dataset))
    run = Store(f"{recipe.output}/{recipe.name}")
    folder = run.directory / SECTION
    skipped = (folder / MODEL).exists()
    speech, held = (_speech(version, split) for split in ("train", "validation"))
    identity = {"dataset": version.manifest.dataset, "version": version.id}
    note_use(version, recipe.name, SECTION, run.join(SECTION), installed("aqaa-data"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    began = said = time.monotonic()

    def say(metrics: dict[str, Any]) -> None:
        nonlocal said
        done = metrics["step"] + 1 == recipe.vocoder.steps
        if done or metrics["step"] == 0 or time.monotonic() - said > LOG_EVERY:
            said = time.monotonic()
            losses = " ".join(f"{name} {metrics[name]:.3f}" for name in ("flow", "mel", "spectrum"))
            step = f"vocoder {metrics['step'] + 1:,}/{recipe.vocoder.steps:,}"
            print(f"{step} | {losses} | {metrics['seconds']:.2f} s a step", file=sys.stderr, flush=True)

    held = held if len(held) else speech
    finished = train_vocoder(
        recipe.vocoder, speech, held, identity, folder, device, say, codes_of(version.manifest)
    )
    return VocoderResult(str(finished), skipped, len(speech), round(time.monotonic() - began, 1))


def _speech(version: Version, split: str) -> Any:
    """The utterances of a split, read where the shards lie."""
    import pyarrow as pa

    from stages.train.vocoder.shards import INDEX, Recorded, index_shard

    paths = [version.path(shard.path) for shard in version.manifest.shards if shard.split == split]
    tables = []
    for number, path in enumerate(paths):
        with version.store.open(path) as shard:
            tables.append(index_shard(cast(BinaryIO, shard), number))

    def read_range(shard: int, start: int, size: int) -> bytes:
        return version.store.read(paths[shard], start, start + size)

    index = pa.concat_tables([INDEX.empty_table(), *tables])
    return Recorded(index, read_range, version.manifest.vocabulary["linguistic"]["first"])
