"""A turn with everything that annotate measured of it: what pack chooses from."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from schemas.recording import Codes, DecodedAudio, Problem, QualityMeasures, Recording, Transcript, Turn

SCHEMA_VERSION = 1

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class AnnotatedTurn:
    """One turn, its recording's circumstances, and why annotate set it aside, if it did."""

    recording: str
    index: int
    """Position among the recording's turns, in order of start."""
    sidecar: str
    """JSON text of the recording's sidecar."""
    decoded: DecodedAudio
    turn: Turn
    transcript: Transcript | None
    assessment: QualityMeasures | None
    codes: Codes | None
    stage: str | None = None
    """The stage that set the turn aside; None where it is still in."""
    problem: Problem | None = None

    @property
    def key(self) -> str:
        """Unique in the dataset, [a-z0-9-], the same in every build."""
        return f"{recording_key(self.recording)}-{self.index:05d}"

    @property
    def metadata(self) -> dict[str, Any]:
        """The sidecar, parsed."""
        return dict(json.loads(self.sidecar))


def recording_key(recording: str) -> str:
    """16 hexadecimal digits that stand for a recording id in keys."""
    return hashlib.sha256(recording.encode()).hexdigest()[:16]


def turns_of(recording: Recording) -> Iterator[AnnotatedTurn]:
    """Every diarized turn of a recording, in order; nothing for one that has none."""
    if recording.decode is None or recording.decode.result is None:
        return
    whole = next(((stage, problem) for stage, problem in recording.problems if problem.turn is None), None)
    by_turn = {problem.turn: (stage, problem) for stage, problem in reversed(recording.problems)}
    for index, turn in enumerate(recording.turns):
        stage, problem = whole or by_turn.get(index) or (None, None)
        yield AnnotatedTurn(
            recording=recording.id,
            index=index,
            sidecar=recording.sidecar,
            decoded=recording.decode.result,
            turn=turn,
            transcript=_at(recording.transcribe.turns if recording.transcribe else (), index),
            assessment=_at(recording.quality.turns if recording.quality else (), index),
            codes=_at(recording.tokenize.turns if recording.tokenize else (), index),
            stage=stage,
            problem=problem,
        )


def _at(turns: tuple[Answer | None, ...], index: int) -> Answer | None:
    """A stage's answer for a turn; None where the stage never saw the recording."""
    return turns[index] if index < len(turns) else None


@dataclass(frozen=True)
class TurnRow:
    """A row of a version's `turns.parquet`: every diarized turn, with its fate and its measures."""

    key: str
    recording: str
    index: int
    start: float
    end: float
    speaker: str
    track: int
    status: str
    """`used` in a sample, `eligible` (chosen, but no family took it), or `set_aside`."""
    stage: str | None
    """Where a turn was set aside."""
    code: str | None
    message: str | None
    text: str | None
    language: str | None
    transcript: Transcript | None
    assessment: QualityMeasures | None
    linguistic_codes: int
    semantic_codes: int


@dataclass(frozen=True)
class SetAsideRow:
    """A row of a version's `set_aside.parquet`: a recording, or one turn of it, that was not used."""

    recording: str
    turn: int | None
    """Index of the turn; None where the whole recording is out."""
    start: float | None
    end: float | None
    stage: str
    code: str
    message: str


@dataclass(frozen=True)
class IndexRow:
    """A row of a version's `index.parquet`: where each sample lies."""

    key: str
    shard: str
    split: str
    family: str
    recording: str
    language: str
    seconds: float
    """Audio that the sample holds as tokens."""
    text_tokens: int
    linguistic_tokens: int
    semantic_tokens: int
