"""A vocoder's training by recipe: the speech of a version that keeps audio, a folder, a finished vocoder."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline.config.yaml_config import beside, read
from pipeline.storage.store import Store
from pipeline.storage.uri import normal
from pipeline.training.data import write_table
from pipeline.training.launch import launch
from pipeline.training.lineage import note_use
from pipeline.training.place import INDEX
from pipeline.training.recipe import WorkersConfig
from pipeline.versions.provenance import code_version, codes_of
from pipeline.versions.reader import Reference, Version, open_version, version_at
from schemas.errors import SetupError
from stages.stage import Config
from stages.train.config import RENAMED_SETTINGS
from stages.train.progress import ProgressCallback
from stages.train.vocoder.config import VocoderTrainConfig

if TYPE_CHECKING:
    from stages.train.vocoder.shards import Recorded

SECTION = "vocoder"
"""Of a recipe that trains a vocoder, and no language model."""
RENAMED_KEYS = {f"{SECTION}.{old}": RENAMED_SETTINGS[old] for old in ("batch", "clip")}
"""Old name of a recipe key -> its new name in the same section."""
LOG_EVERY = 30.0
"""Seconds between lines."""


class VocoderRecipe(Config):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of the training's folder")
    dataset: str = Field(description="[URI/]NAME[@VERSION|@TAG] of a version with keep_audio")
    output: str = Field("runs", description="directory where trainings are kept")
    workers: WorkersConfig = WorkersConfig()
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
    written = read(path, settings, RENAMED_KEYS)
    if written.values[SECTION] is None:
        written.values[SECTION] = {}
    recipe = written.checked(VocoderRecipe)
    placed = beside(written.file, recipe.dataset) if "/" in recipe.dataset else recipe.dataset
    output = normal(output or beside(written.file, recipe.output))
    if not Store(output).is_local:
        raise SetupError(f"a vocoder is trained into a directory, not {output}: name one as `output`")
    return recipe.model_copy(update={"dataset": dataset or placed, "output": output})


@dataclass(frozen=True)
class VocoderJob:
    """A training, as every process is told of it."""

    config: VocoderTrainConfig
    dataset: str
    """URI."""
    version: str
    folder: Path
    index: Path
    """Where the speech lies in the shards."""

    def __call__(self, said: ProgressCallback = lambda metrics: None) -> None:
        from stages.train.vocoder.train import train_vocoder

        version = version_at(Store(self.dataset), self.version)
        speech, held = (self.speech(version, split) for split in ("train", "validation"))
        identity = {"dataset": version.manifest.dataset, "version": version.id}
        codes = codes_of(version.manifest)
        train_vocoder(self.config, speech, held if len(held) else speech, identity, self.folder, said, codes)

    def speech(self, version: Version, split: str) -> "Recorded":
        """The utterances of a split, read where the shards lie."""
        from stages.train.vocoder.shards import Recorded

        shards = version.manifest.shards
        asked = [number for number, shard in enumerate(shards) if shard.split == split]

        def read_range(shard: int, start: int, size: int) -> bytes:
            return version.store.read(version.path(shards[shard].path), start, start + size)

        index = pa.ipc.open_file(pa.memory_map(str(self.index))).read_all()
        of_split = index.filter(pc.is_in(index["shard"], pa.array(asked, pa.int32())))
        return Recorded(of_split, read_range, version.manifest.vocabulary["linguistic"]["first"])


def train(recipe: VocoderRecipe) -> VocoderResult:
    """Train, or go on with what was stopped. Raises SetupError."""
    from stages.train.folder import MODEL
    from stages.train.vocoder.speech import refuse_nothing

    version = open_version(Reference.parse(recipe.dataset))
    run = Store(f"{recipe.output}/{recipe.name}")
    folder = run.directory / SECTION
    skipped = (folder / MODEL).exists()
    index = run.directory / INDEX / f"{version.id}.speech.arrow"
    if not index.exists():
        _write_index(version, index)
    job = VocoderJob(recipe.vocoder, version.store.uri, version.id, folder, index)
    speech = job.speech(version, "train")
    refuse_nothing(speech)
    note_use(version, recipe.name, SECTION, run.join(SECTION), code_version())
    began = said = time.monotonic()

    def say(metrics: dict[str, Any]) -> None:
        nonlocal said
        done = metrics["step"] + 1 == recipe.vocoder.steps
        if done or metrics["step"] == 0 or time.monotonic() - said > LOG_EVERY:
            said = time.monotonic()
            losses = " ".join(f"{name} {metrics[name]:.3f}" for name in ("flow", "mel", "spectrum"))
            step = f"vocoder {metrics['step'] + 1:,}/{recipe.vocoder.steps:,}"
            print(f"{step} | {losses} | {metrics['seconds']:.2f} s a step", file=sys.stderr, flush=True)

    if skipped:
        job()  # sees whether what is finished is what was asked for
    else:
        launch(job, recipe.workers, say)
    return VocoderResult(str(folder / MODEL), skipped, len(speech), round(time.monotonic() - began, 1))


def _write_index(version: Version, file: Path) -> None:
    """Where the speech of all shards lies."""
    from stages.train.vocoder.shards import INDEX as COLUMNS
    from stages.train.vocoder.shards import index_shard

    tables = []
    for number, shard in enumerate(version.manifest.shards):
        with version.store.open(version.path(shard.path)) as content:
            tables.append(index_shard(cast(BinaryIO, content), number))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_table(file, pa.concat_tables([COLUMNS.empty_table(), *tables]))
