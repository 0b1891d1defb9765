"""A turn with everything that annotate recorded about it, and the rows of a version's tables."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from schemas.recording import Codes, DecodedAudio, Problem, QualityMeasures, Recording, Transcript, Turn

SCHEMA_VERSION = 1

Result = TypeVar("Result")


@dataclass(frozen=True)
class Uncorrected:
    """What a person corrected in a turn, as it was before; None is what they left."""

    text: str | None = None
    speaker: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class AnnotatedTurn:
    """A turn with what each stage recorded of it, and the reason if a stage set it aside."""

    recording: str
    """Id of the recording."""
    index: int
    """Position among the recording's turns, in order of start."""
    metadata: dict[str, Any]
    """The recording's sidecar, parsed once and shared by all of its turns: read-only."""
    decoded: DecodedAudio
    turn: Turn
    transcript: Transcript | None
    assessment: QualityMeasures | None
    codes: Codes | None
    stage: str | None = None
    """The stage that set the turn or its recording aside; None if none did."""
    problem: Problem | None = None
    corrected_from: Uncorrected | None = None
    """What a person corrected; None for turns as they were annotated."""
    sings: bool = False
    """It is of a song, which has limits of its own."""
    uri: str = ""
    """Where the recording is."""

    @property
    def key(self) -> str:
        """Unique in the dataset, [a-z0-9-], the same in every build."""
        return f"{recording_key(self.recording)}-{self.index:05d}"


def recording_key(recording: str) -> str:
    """16 hexadecimal digits that identify a recording in keys, from its id."""
    return hashlib.sha256(recording.encode()).hexdigest()[:16]


def turns_of(recording: Recording) -> Iterator[AnnotatedTurn]:
    """Every diarized turn of a recording, in order."""
    if recording.decode is None or recording.decode.result is None:
        return
    whole = next(((stage, problem) for stage, problem in recording.problems if problem.whole), None)
    by_turn = {problem.turn: (stage, problem) for stage, problem in reversed(recording.problems)}
    for index, turn in enumerate(recording.turns):
        stage, problem = whole or by_turn.get(index) or (None, None)
        yield AnnotatedTurn(
            recording=recording.id,
            index=index,
            metadata=recording.metadata,
            decoded=recording.decode.result,
            turn=turn,
            transcript=_at(recording.transcribe.turns if recording.transcribe else (), index),
            assessment=_at(recording.quality.turns if recording.quality else (), index),
            codes=_at(recording.tokenize.turns if recording.tokenize else (), index),
            stage=stage,
            problem=problem,
            sings=recording.sings,
            uri=recording.uri,
        )


def _at(turns: tuple[Result | None, ...], index: int) -> Result | None:
    """A stage's result for a turn; None if the stage didn't process the recording."""
    return turns[index] if index < len(turns) else None


@dataclass(frozen=True)
class TurnRow:
    """A row of a version's `turns.parquet`: a diarized turn, its status and its measures."""

    key: str
    recording: str
    index: int
    start: float
    end: float
    speaker: str
    track: int
    status: str
    """`used` in a sample, `eligible` (selected, but not used by any family), or `set_aside`."""
    stage: str | None
    """The stage that set the turn aside."""
    code: str | None
    message: str | None
    text: str | None
    language: str | None
    transcript: Transcript | None
    assessment: QualityMeasures | None
    linguistic_codes: int
    semantic_codes: int
    channel: int | None = None
    """Channel of the original, from 1, that the turn is cut from; None for a mix of channels."""
    source: str | None = None
    """`model`, or the kind of companion that states the turn."""
    voice_similarity: float | None = None
    """Least cosine between the voice in a piece of the turn and in the rest of it."""
    speaker_margin: float | None = None
    """By how much the voice is more like its speaker's than like any other's, as a difference of cosines."""
    identity: str | None = None
    """Who the speaker is, over all recordings; None where that isn't known or wasn't asked."""
    identity_similarity: float | None = None
    """Cosine of the speaker's voice with the voice of that name."""
    identity_margin: float | None = None
    """By how much it is more like that voice than like any other, as a difference of cosines."""
    corrected_from: Uncorrected | None = None
    """What a person corrected; None for turns as they were annotated."""
    dialect: str | None = None
    """By the sidecar, the source or an ear; None where nothing says which."""
    sings: bool = False
    """It is of a song: by the sidecar, or by lyrics that came with the recording."""
    styles: tuple[str, ...] = ()
    """The styles it was synthesised in and the emotion that its sidecar claims, with whether they are heard,
    such as `slow/confirmed`; those that `styles` of the manifest counts."""


@dataclass(frozen=True)
class SetAsideRow:
    """A row of a version's `set_aside.parquet`: a recording, a turn of it, or a line of its companion."""

    recording: str
    turn: int | None
    """Index of the turn. Without turn and line, the whole recording was set aside."""
    start: float | None
    end: float | None
    stage: str
    code: str
    message: str
    line: int | None = None
    """Line of the companion, from 1."""


@dataclass(frozen=True)
class IndexRow:
    """A row of a version's `index.parquet`: the shard of a sample, and its size."""

    key: str
    shard: str
    split: str
    family: str
    recording: str
    language: str
    seconds: float
    """Seconds of audio that the sample holds as tokens."""
    text_tokens: int
    linguistic_tokens: int
    semantic_tokens: int
