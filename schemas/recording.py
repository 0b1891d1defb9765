"""What annotate knows of a recording: each stage fills one field, and that field is its column.

All times are seconds from the start of the recording.
"""

import json
from dataclasses import dataclass

from schemas.arrow import Code

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Problem:
    """Why a recording, or one turn of it, was set aside."""

    code: str
    """A short name to count by, such as `no_speech`."""
    message: str
    """One sentence for a person."""
    turn: int | None = None
    """Index of the turn; None sets the whole recording aside."""


@dataclass(frozen=True, slots=True)
class Companion:
    """A file beside the recording that already holds its diarization or transcript."""

    kind: str
    """`rttm`, `stm`, `ctm` or `jsonl`."""
    uri: str
    etag: str


@dataclass(frozen=True)
class DecodedAudio:
    """The audio as it came and as it was spooled (16 kHz, 16 bit, `tracks` channels)."""

    seconds: float
    """Duration of what was decoded."""
    declared_seconds: float | None
    """Duration that the header claims; None where it claims nothing believable."""
    container: str
    codec: str
    sample_rate: int
    """Hz, before resampling."""
    channels: int
    tracks: int
    """Channels kept: 1, or one a speaker where a call keeps its speakers apart."""
    channel_mode: str
    """`mono`, `mix`, `split` or `one` (a single channel stood for all)."""
    loudness_lufs: float | None
    """Integrated loudness (BS.1770); None below the gate."""
    peak_dbfs: float
    dc_offset: float
    clipped_share: float
    """Share of samples at full scale."""
    gain_db: float
    """Gain applied so that over-range samples fit the spool; 0 as a rule."""
    repairs: tuple[str, ...]
    """What was mended or is doubtful, in words (`truncated: 3.1 of 6.2 s`, ..)."""
    sha256: str
    """Of the file's bytes."""


UNKNOWN_SPEAKER = "somebody"
"""Who is heard only while others speak too: a segment's speaker, never one that counts."""


@dataclass(frozen=True)
class Segment:
    """One stretch of one speaker as diarization heard it; segments of two speakers may overlap."""

    start: float
    end: float
    speaker: str
    track: int


@dataclass(frozen=True)
class Speaker:
    """A speaker of this recording."""

    name: str
    seconds: float
    embedding: tuple[float, ...]
    """Unit-length centroid, empty where none was computed."""


@dataclass(frozen=True)
class Turn:
    """What one speaker says until another does or a long pause comes: the grain of the data."""

    start: float
    end: float
    speaker: str
    track: int
    overlapped: bool
    """Somebody else speaks too on the same track: kept for the record, never used."""
    text: str | None = None
    """Known text, from a file beside the recording."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Diarization:
    source: str
    """`model`, or the kind of file that it was taken from."""
    segments: tuple[Segment, ...]
    speakers: tuple[Speaker, ...]
    turns: tuple[Turn, ...]
    """In order of start, then track; later stages answer turn by turn in this order."""


@dataclass(frozen=True)
class Word:
    start: float
    end: float
    text: str
    """As spoken in the transcript, with its own leading space where the language has one."""
    probability: float


@dataclass(frozen=True)
class Transcript:
    """Text of one turn, with what speaks for and against it."""

    text: str
    language: str
    """ISO 639-1."""
    language_probability: float
    words: tuple[Word, ...]
    source: str
    """`model`, or the kind of file that it was taken from."""
    average_log_probability: float | None
    no_speech_probability: float | None
    compression_ratio: float
    """Length of the text over its zlib length: repetition raises it."""
    repeated_share: float
    """Share of words that stand in repeated n-grams."""
    characters_per_second: float
    longest_word: int
    """Letters."""
    phantom: bool
    """The text is a phrase that recognisers are known to make up on silence or music."""


@dataclass(frozen=True)
class QualityMeasures:
    """Measures of one turn's sound."""

    dnsmos_overall: float | None
    dnsmos_signal: float | None
    dnsmos_background: float | None
    clipped_share: float
    speech_share: float
    """Share of the turn in which the VAD hears speech."""
    words_per_second: float | None
    """Per second of speech; characters over 2 for languages written without spaces."""
    pitch_median_hz: float | None
    pitch_range_semitones: float | None
    """10th to 90th percentile of voiced frames."""
    loudness_lufs: float | None


@dataclass(frozen=True)
class Codes:
    """Dual-codebook tokens of one turn."""

    linguistic: tuple[Code, ...]
    """Indices 0..1023, 16.67 Hz."""
    semantic: tuple[Code, ...]
    """Indices 0..4095, 25 Hz."""


@dataclass(frozen=True)
class DecodeColumn:
    """Column of the decode stage; `result` is None where the recording was set aside."""

    result: DecodedAudio | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class DiarizeColumn:
    result: Diarization | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class TranscribeColumn:
    """One transcript a turn, None for turns set aside here or before."""

    turns: tuple[Transcript | None, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class QualityColumn:
    turns: tuple[QualityMeasures | None, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class TokenizeColumn:
    turns: tuple[Codes | None, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Recording:
    """A recording with everything that annotate has said of it so far."""

    id: str
    """Path relative to its input, the same wherever the input lies."""
    uri: str
    bytes: int
    etag: str
    sidecar: str
    """The JSON text of `<recording>.json` beside it, `{}` without one."""
    companions: tuple[Companion, ...] = ()
    decode: DecodeColumn | None = None
    diarize: DiarizeColumn | None = None
    transcribe: TranscribeColumn | None = None
    quality: QualityColumn | None = None
    tokenize: TokenizeColumn | None = None

    @property
    def problems(self) -> tuple[tuple[str, Problem], ...]:
        """(stage, problem) of all stages, in stage order."""
        return tuple(
            (stage, problem)
            for stage in STAGES
            if (column := getattr(self, stage)) is not None
            for problem in column.problems
        )

    @property
    def set_aside(self) -> bool:
        """The whole recording is out."""
        return any(problem.turn is None for _, problem in self.problems)

    @property
    def synthesized(self) -> bool:
        """Its speech was made here of text: turns and words are known from the file beside it."""
        return "synthesis" in json.loads(self.sidecar)

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self.diarize.result.turns if self.diarize and self.diarize.result else ()

    def live_turns(self) -> list[int]:
        """Indices of the turns that no stage has set aside."""
        if self.set_aside:
            return []
        out = {problem.turn for _, problem in self.problems}
        return [index for index in range(len(self.turns)) if index not in out]


COLUMNS: dict[str, type] = {
    "decode": DecodeColumn,
    "diarize": DiarizeColumn,
    "transcribe": TranscribeColumn,
    "quality": QualityColumn,
    "tokenize": TokenizeColumn,
}
"""Annotate's stages in order, with the type of each one's column in `Recording`."""

STAGES = tuple(COLUMNS)


@dataclass(frozen=True)
class Unit:
    """The grain of work, resume and commit: some recordings that go through annotate together."""

    id: str
    recordings: tuple[Recording, ...]
