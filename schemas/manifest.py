"""The manifest of a dataset version, `manifest.json`, which is written last."""

import hashlib
import json
import operator
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)


class File(_Model):
    path: str
    """Relative to the folder of the version."""
    bytes: int
    sha256: str


class Shard(File):
    split: str
    samples: int


def version_id(shards: Iterable[Shard], files: Iterable[File]) -> str:
    """Id of a version, a hash of its outputs: the shards and the tables, but not pages such as the report."""
    tables = sorted((f.path, f.sha256) for f in files if f.path.endswith(".parquet"))
    outputs = [(s.path, s.sha256) for s in shards] + tables
    return hashlib.sha256(json.dumps(outputs).encode()).hexdigest()[:16]


class ModelUsed(_Model):
    reference: str
    bytes: int
    sha256: str
    licence: str


class RecordingCounts(_Model):
    """in = kept + set_aside. A recording is kept if at least one of its turns is."""

    in_: int = Field(alias="in")
    kept: int
    set_aside: int


class TurnCounts(_Model):
    """diarized = used + eligible + set_aside."""

    diarized: int
    used: int
    eligible: int
    set_aside: int


class TextCounts(_Model):
    """rows = used + eligible + set_aside."""

    rows: int
    used: int
    eligible: int
    set_aside: int


class DialectCounts(_Model):
    """Kept turns in one dialect."""

    turns: int
    seconds: float


class Share(_Model):
    """Share of a family in the mixture, in tokens."""

    asked: float | None
    """Requested share, 0..1; None if the recipe defines no mixture."""
    got: float
    """Actual share, 0..1."""
    tokens: int
    left_out: int
    """Tokens left out because they exceeded the requested share."""


class PartitionVersion(_Model):
    """A partition of a version, which is a version of a dataset of its own."""

    partition: str
    """Name of that dataset, under `partitions/`."""
    version: str
    settings: str
    """Hash of everything but the inputs that determined its outputs; equal in all parts of a version."""
    shards: int
    bytes: int
    """Of its shards and files."""
    kept: str = Field("", exclude_if=operator.not_)
    """Hash of what it keeps, if the partitions after it depend on that."""
    after: str = Field("", exclude_if=operator.not_)
    """Hash of what the partitions before it kept when it was decided; empty if it doesn't depend on them."""


def version_id_of_parts(parts: Iterable[PartitionVersion]) -> str:
    """Id of a version of all partitions, a hash of the ids of their versions."""
    listed = sorted((part.partition, part.version) for part in parts)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


class Manifest(_Model):
    schema_version: int = SCHEMA_VERSION
    dataset: str
    version: str
    """Id of the version: a hash of its outputs."""
    plan: str
    """Id of the plan: a hash of everything that determines the outputs (inputs, recipe, stages, models)."""
    code_version: str
    recipe: dict[str, Any]
    inputs: list[dict[str, Any]]
    """The input roots, with the number and the bytes of their recordings."""
    models: list[ModelUsed]
    stages: dict[str, str]
    """Stage name -> fingerprint."""
    ledgers: list[str]
    """Annotation files that the version was packed from, relative to the folder of the dataset."""
    recordings: RecordingCounts
    turns: TurnCounts
    texts: TextCounts = TextCounts(rows=0, used=0, eligible=0, set_aside=0)
    """Rows of text without audio."""
    set_aside: dict[str, int]
    """`stage/code` -> number of recordings, turns, lines of companions and rows of text set aside for it."""
    samples: dict[str, int]
    """Family -> number of samples."""
    not_composed: dict[str, int] = {}
    """`family/reason` -> number of kept turns that the family couldn't use."""
    licences: dict[str, int] = {}
    """Licence according to sidecars and rows, or `not stated` -> number of kept recordings and rows."""
    audio_notes: dict[str, int] = {}
    """Kind of an `AudioNote` of decode, or `start_offset` -> number of recordings that have it."""
    companions: dict[str, int] = {}
    """`kind/code` -> number of companions: `used`, or why they were left."""
    styles: dict[str, int] = {}
    """`style/outcome` -> number of turns that were synthesised in the style, or which claim an emotion or a
    dialect, and that nothing else sets aside, by whether they are heard to be so: `confirmed`, `refused` or
    `not_measured`."""
    voice_styles: dict[str, int] = {}
    """The same for synthesised turns, by what spoke: `kokoro: af_heart/slow/confirmed` -> number of turns."""
    dialects: dict[str, DialectCounts] = {}
    """Dialect -> kept turns in it, by sidecars, sources and ears."""
    songs: dict[str, float] = {}
    """Seconds of songs: `audio` of their recordings, `kept`, and `stage/code` that set their turns aside."""
    mixture: dict[str, Share] = {}
    """Family -> its requested and actual share."""
    rater_agreement: float | None = None
    """Krippendorff's alpha of the ratings behind preference pairs; None without ratings."""
    splits: dict[str, int]
    """Split -> number of samples."""
    tokens: dict[str, int]
    """Kind (text, linguistic, semantic) -> number of tokens in all shards."""
    audio_seconds: float
    """Decoded audio of all recordings, in seconds."""
    kept_seconds: float
    """Audio of the turns used or eligible, in seconds."""
    vocabulary: dict[str, Any]
    shards: list[Shard]
    files: list[File]
    parts: list[PartitionVersion] = []
    """Of a build in partitions, which has no shards, files and ledgers of its own; counts are of all."""

    @property
    def shard_count(self) -> int:
        """Of all parts, without reading them."""
        return sum(part.shards for part in self.parts) if self.parts else len(self.shards)

    @property
    def bytes(self) -> int:
        """Of all shards and files."""
        if self.parts:
            return sum(part.bytes for part in self.parts)
        return sum(file.bytes for file in (*self.shards, *self.files))
