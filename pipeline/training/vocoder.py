"""Training a vocoder by recipe, from the speech of a version that keeps audio."""

import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline.config.yaml_config import beside, read_yaml
from pipeline.models import resolve
from pipeline.storage.store import Store
from pipeline.storage.uri import normalize_uri
from pipeline.training.data import write_table
from pipeline.training.display import PlainLines
from pipeline.training.launch import launch
from pipeline.training.lineage import note_use
from pipeline.training.locks import alone_in
from pipeline.training.recipe import WorkersConfig
from pipeline.training.spoken import factors_of, speech_folder, voice_of
from pipeline.training.training_folder import INDEX
from pipeline.versions.provenance import code_version, codes_of
from pipeline.versions.reader import Reference, Version, open_version, version_at
from schemas.errors import SetupError
from stages.stage import Config
from stages.train.config import RENAMED_SETTINGS
from stages.train.progress import ProgressCallback
from stages.train.vocoder.config import VocoderTrainConfig

if TYPE_CHECKING:
    from stages.train.vocoder.utterances import Utterances

SECTION = "vocoder"
"""Section that makes a recipe train a vocoder instead of a language model."""
RENAMED_KEYS = {f"{SECTION}.{old}": RENAMED_SETTINGS[old] for old in ("batch", "clip")}
"""Old name of a recipe key -> its new name in the same section."""
SHOWN = ("flow", "prior", "mel", "spectrum", "pitch")
"""Losses in a line of progress."""


class VocoderRecipe(Config):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of the training's folder")
    dataset: str = Field(
        description="[URI/]NAME[@VERSION|@TAG] of a version with keep_audio; for the preset `voice`, of any "
        "version with the codes to speak"
    )
    output: str = Field("runs", description="directory for trainings")
    workers: WorkersConfig = Field(WorkersConfig(), description="processes of the training")
    vocoder: VocoderTrainConfig = Field(VocoderTrainConfig(), description="settings of the training")


@dataclass(frozen=True)
class VocoderResult:
    vocoder: str
    """Folder."""
    skipped: bool
    """Whether it was finished already."""
    utterances: int
    seconds: float


def is_vocoder(path: str) -> bool:
    """Whether a recipe trains a vocoder. Raises SetupError for a file that can't be read as a recipe."""
    return SECTION in read_yaml(path).values


def load(
    path: str, settings: Sequence[str] = (), dataset: str | None = None, output: str | None = None
) -> VocoderRecipe:
    """Read a recipe. Paths in it are relative to its directory. Raises SetupError."""
    parsed = read_yaml(path, settings, RENAMED_KEYS)
    if parsed.values[SECTION] is None:
        parsed.values[SECTION] = {}
    recipe = parsed.validated(VocoderRecipe)
    if recipe.vocoder.sentences:
        sentences = beside(parsed.file, recipe.vocoder.sentences)
        vocoder = recipe.vocoder.model_copy(update={"sentences": sentences})
        recipe = recipe.model_copy(update={"vocoder": vocoder})
    resolved = beside(parsed.file, recipe.dataset) if "/" in recipe.dataset else recipe.dataset
    output = normalize_uri(output or beside(parsed.file, recipe.output))
    if not Store(output).is_local:
        raise SetupError(f"a vocoder needs a local directory, not {output}: set `output` to one")
    return recipe.model_copy(update={"dataset": dataset or resolved, "output": output})


@dataclass(frozen=True)
class VocoderJob:
    """A training, as it is passed to every process."""

    config: VocoderTrainConfig
    dataset: str
    """URI."""
    version: str
    folder: Path
    index: Path
    """Where the speech is in the shards, or a folder of spoken sentences."""

    @property
    def place(self) -> Store:
        return Store(str(self.folder))

    def refresh(self) -> None:
        pass

    def __call__(self, on_progress: ProgressCallback = lambda metrics: None) -> None:
        from stages.quality.config import FCPE
        from stages.quality.pitch import PitchTracker
        from stages.train.vocoder.train import train_vocoder

        version = version_at(Store(self.dataset), self.version)
        voice = voice_of(self.config)
        speech, held_out = (self.speech(version, split) for split in ("train", "validation"))
        identity = {"dataset": version.manifest.dataset, "version": version.id}
        if voice:
            identity["speech"] = self.index.name
        codes = codes_of(version.manifest)
        spoken = held_out if len(held_out) else speech
        path = resolve(voice.voice).path if voice else None
        factors = factors_of(self.index) if voice else ()
        measure = None if voice else PitchTracker(resolve(FCPE).path).hz
        train_vocoder(
            self.config, speech, spoken, identity, self.folder, on_progress, codes, path, factors, measure
        )

    def speech(self, version: Version, split: str) -> "Utterances":
        """The utterances of a split: spoken sentences, or read by range from the shards."""
        from stages.train.vocoder.shards import ShardUtterances
        from stages.train.vocoder.spoken import SpokenSentences

        if self.config.sentences:
            return SpokenSentences(self.index, held_out=split != "train")

        shards = version.manifest.shards
        numbers = [number for number, shard in enumerate(shards) if shard.split == split]

        def read_range(shard: int, start: int, size: int) -> bytes:
            return version.store.read(version.path(shards[shard].path), start, start + size)

        index = pa.ipc.open_file(pa.memory_map(str(self.index))).read_all()
        of_split = index.filter(pc.is_in(index["shard"], pa.array(numbers, pa.int32())))
        return ShardUtterances(of_split, read_range, version.manifest.vocabulary["linguistic"]["first"])


def train(recipe: VocoderRecipe) -> VocoderResult:
    """Train, or resume a stopped training. Raises SetupError."""
    from stages.train.folder import MODEL

    version = open_version(Reference.parse(recipe.dataset))
    run = Store(f"{recipe.output}/{recipe.name}")
    skipped = (run.directory / SECTION / MODEL).exists()
    with nullcontext() if skipped else alone_in(run.directory / SECTION):
        return _train(recipe, version, run, skipped)


def _train(recipe: VocoderRecipe, version: Version, run: Store, skipped: bool) -> VocoderResult:
    from stages.train.folder import MODEL
    from stages.train.vocoder.utterances import refuse_empty

    folder = run.directory / SECTION
    if recipe.vocoder.sentences:
        index = speech_folder(recipe.vocoder, recipe.vocoder.sentences, version, run.directory)
    else:
        index = run.directory / INDEX / f"{version.id}.speech.arrow"
        if not index.exists():
            _write_index(version, index)
    job = VocoderJob(recipe.vocoder, version.store.uri, version.id, folder, index)
    speech = job.speech(version, "train")
    refuse_empty(speech)
    note_use(version, recipe.name, SECTION, run.join(SECTION), code_version())
    started, lines = time.monotonic(), PlainLines()

    def print_progress(metrics: dict[str, Any]) -> None:
        if lines.due(is_last=metrics["step"] + 1 == recipe.vocoder.steps):
            losses = " ".join(f"{name} {metrics[name]:.3f}" for name in SHOWN if name in metrics)
            step = f"vocoder {metrics['step'] + 1:,}/{recipe.vocoder.steps:,}"
            print(f"{step} | {losses} | {metrics['seconds']:.2f} s/step", file=sys.stderr, flush=True)

    if skipped:
        job()  # checks that what is finished has these settings
    else:
        launch(job, recipe.workers, print_progress)
    return VocoderResult(str(folder / MODEL), skipped, len(speech), round(time.monotonic() - started, 1))


def _write_index(version: Version, file: Path) -> None:
    """Write where the speech of all shards is."""
    from stages.train.vocoder.shards import INDEX as COLUMNS
    from stages.train.vocoder.shards import index_shard

    tables = []
    for number, shard in enumerate(version.manifest.shards):
        with version.store.open(version.path(shard.path)) as content:
            tables.append(index_shard(cast(BinaryIO, content), number))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_table(file, pa.concat_tables([COLUMNS.empty_table(), *tables]))
