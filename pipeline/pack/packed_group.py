"""What packing one group produced; `summary.json` in the group's folder."""

import json
from dataclasses import asdict, dataclass, field

from pipeline.storage import dataset_layout as layout


@dataclass(frozen=True)
class PackedShard:
    """A shard of a group, in the group's folder."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str

    @property
    def prefix(self) -> str:
        """See `stages.shard.shard_prefix`."""
        return layout.shard_prefix(self.name)


@dataclass(frozen=True)
class PackedGroup:
    """The shards and the counts of a packed group."""

    folder: str
    """Path in the dataset of its shards and tables."""
    shards: tuple[PackedShard, ...]
    recordings: dict[str, int]
    """`kept` and `set_aside` -> number."""
    texts: dict[str, int]
    """Status (`used`, `eligible`, `set_aside`) -> number of rows of text."""
    turns: dict[str, int]
    """Status -> number."""
    set_aside: dict[str, int]
    """`stage/code` -> number."""
    samples: dict[str, int]
    """Family -> number."""
    tokens: dict[str, int]
    """Modality -> number."""
    family_tokens: dict[str, int]
    left_out: dict[str, int]
    """Family -> tokens that exceed its share of the mixture."""
    not_composed: dict[str, int]
    """`family/reason` -> kept turns that this family could not use."""
    licences: dict[str, int]
    """Licence as sidecars and rows name it -> number of kept recordings and rows of text."""
    audio_seconds: float
    kept_seconds: float
    audio_notes: dict[str, int] = field(default_factory=dict)
    """Kind of note (see `AudioNote`), or `start_offset` -> number of recordings that have it."""
    companions: dict[str, int] = field(default_factory=dict)
    """`kind/code` (see `CompanionUse`) -> number of companions."""
    styles: dict[str, int] = field(default_factory=dict)
    """Style and outcome (`slow/confirmed`, `slow/refused`, `slow/not_measured`) -> number of turns that were
    synthesised in it, or which claim the emotion or dialect, and that nothing else sets aside."""
    voice_styles: dict[str, int] = field(default_factory=dict)
    """The same by what spoke: `kokoro: af_heart/slow/confirmed`."""
    dialects: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Dialect -> number of kept turns, and their seconds."""
    songs: dict[str, float] = field(default_factory=dict)
    """Seconds of songs: `audio` of their recordings, `kept`, and `stage/code` that set their turns aside."""
    rater_agreement: float | None = None
    """Krippendorff's alpha of the ratings that its pairs come from."""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "PackedGroup":
        fields = json.loads(content)
        shards = tuple(PackedShard(**shard) for shard in fields.pop("shards"))
        return cls(shards=shards, **fields)
