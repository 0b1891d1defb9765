"""What a dataset version says of itself: `manifest.json`, written last."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)


class File(_Model):
    path: str
    """Relative to the version."""
    bytes: int
    sha256: str


class Shard(File):
    split: str
    samples: int


def version_id(shards: Iterable[Shard], files: Iterable[File]) -> str:
    """The id that outputs give a version: its shards, then its tables; pages about them don't count."""
    tables = sorted((f.path, f.sha256) for f in files if f.path.endswith(".parquet"))
    outputs = [(s.path, s.sha256) for s in shards] + tables
    return hashlib.sha256(json.dumps(outputs).encode()).hexdigest()[:16]


class ModelUsed(_Model):
    reference: str
    bytes: int
    sha256: str
    licence: str


class RecordingCounts(_Model):
    """in = kept + set_aside; a recording is kept when at least one of its turns is."""

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


class Share(_Model):
    """A family's part of the mixture, of all tokens."""

    asked: float | None
    """0..1; None where the recipe asks for no mixture."""
    got: float
    tokens: int
    left_out: int
    """Tokens that were there beyond the family's share."""


class Manifest(_Model):
    schema_version: int = SCHEMA_VERSION
    dataset: str
    version: str
    """Hash of the outputs."""
    plan: str
    """Hash of all that decides the outputs: inputs, recipe, stage versions, models."""
    code_version: str
    recipe: dict[str, Any]
    inputs: list[dict[str, Any]]
    """The input roots with number and bytes of their recordings."""
    models: list[ModelUsed]
    stages: dict[str, str]
    """Stage name -> fingerprint."""
    ledgers: list[str]
    """Annotation files that the version was packed from, relative to the dataset."""
    recordings: RecordingCounts
    turns: TurnCounts
    texts: TextCounts = TextCounts(rows=0, used=0, eligible=0, set_aside=0)
    """Rows of text that nobody has spoken."""
    set_aside: dict[str, int]
    """`stage/code` -> number of recordings, turns and rows of text."""
    samples: dict[str, int]
    """Family -> number."""
    not_composed: dict[str, int] = {}
    """`family/reason` -> kept turns that the family could not use."""
    licences: dict[str, int] = {}
    """What sidecars and rows name as licence, or `not stated` -> number of kept recordings and rows."""
    mixture: dict[str, Share] = {}
    """Family -> what was asked for and what there is."""
    rater_agreement: float | None = None
    """Krippendorff's alpha of the ratings that preference pairs come from; None without ratings."""
    splits: dict[str, int]
    tokens: dict[str, int]
    """Tokens in all shards: text, linguistic, semantic."""
    audio_seconds: float
    """Decoded audio of all recordings."""
    kept_seconds: float
    """Audio of the turns used or eligible."""
    vocabulary: dict[str, Any]
    shards: list[Shard]
    files: list[File]
