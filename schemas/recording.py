"""The records of annotate. Each stage fills one field of `Recording`, which is its column in Parquet.

All times are seconds from the start of the recording.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote_to_bytes

from schemas.arrow import Code

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Problem:
    """Why a recording, one of its turns, or a line of its companion was set aside."""

    code: str
    """A reason code, such as `no_speech`, by which problems are counted."""
    message: str
    """One sentence for a reader."""
    turn: int | None = None
    """Index of the turn."""
    line: int | None = None
    """Line of the companion, from 1. Without turn and line, the whole recording is set aside."""

    @property
    def whole(self) -> bool:
        """Whether the whole recording is set aside."""
        return self.turn is None and self.line is None


@dataclass(frozen=True, slots=True)
class Companion:
    """A file next to the recording with an existing diarization or transcript of it."""

    kind: str
    """One of `schemas.companions.KINDS`, or `json` for a sidecar."""
    uri: str
    etag: str

    @property
    def name(self) -> str:
        """The name of the file; bytes that aren't UTF-8 as `\\xe9`, as in ids of recordings."""
        name = self.uri.rpartition("/")[2]
        if self.uri.startswith(("s3://", "gs://")):
            return name
        return unquote_to_bytes(name).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class CompanionUse:
    """What a stage did with a companion of a recording."""

    name: str
    """Of the file."""
    kind: str
    code: str
    """`used`, or why it was left: `ignored`, `less_preferred`, or the code of what is wrong with it."""
    notes: tuple[str, ...] = ()
    """What was repaired, found or left out, or why it was left, as sentences for a reader."""


@dataclass(frozen=True, slots=True)
class AudioNote:
    """Something that decode found or repaired in a file."""

    kind: str
    """`gap`, `overlap` or `clock` (of the time stamps), `format` or `joined` (changes within the file),
    `header` (it doesn't fit the data), `streams` (others were left out), `damage`, `truncated`,
    or `separated` (of a song, only the vocals are left)."""
    message: str
    """One sentence for a reader."""
    start: float | None = None
    """Where in the recording, in seconds; None if it concerns all of it."""
    seconds: float | None = None
    """How long what was filled or left out is."""


@dataclass(frozen=True)
class DecodedAudio:
    """Properties of the original audio, and of its spool (16 kHz, 16 bit, `tracks` channels)."""

    seconds: float
    """Duration of the spool, on the clock of the container: sound, start offset and gaps."""
    declared_seconds: float | None
    """Duration according to the header; None if it has none, or an implausible one."""
    container: str
    codec: str
    sample_rate: int
    """Hz, before resampling."""
    channels: int
    """Channels of the original."""
    tracks: int
    """Channels of the spool: 1, or one per speaker for a call with a speaker on each channel."""
    channel_mode: str
    """`mono`, `mix` (mean of the channels), `split` (a track per channel) or `one` (of several)."""
    loudness_lufs: float | None
    """Integrated loudness (BS.1770); None below the gate."""
    peak_dbfs: float
    dc_offset: float
    clipped_share: float
    """Share of samples at full scale."""
    gain_db: float
    """Gain that was needed to fit over-range samples into the spool; usually 0."""
    notes: tuple[AudioNote, ...]
    """What was found or repaired, at most 20 notes and a summary of each kind."""
    sha256: str
    """Hash of the original file."""
    start_offset: float = 0.0
    """Seconds of silence at the start of the spool: the first sound's time on the container's clock."""
    clock_start: float = 0.0
    """Reading of the container's clock at the start of the spool, in seconds; not 0 only where clocks begin
    anywhere, as in MPEG transport streams."""
    gap_seconds: float = 0.0
    """Seconds of the spool, without the start offset, for which the file has no audio."""
    stream: int = 0
    """Which of the file's audio streams was decoded, from 0."""
    audio_streams: int = 1
    """Number of audio streams in the file."""
    track_channels: tuple[int, ...] = ()
    """The channel of the original, from 0, that each track is; empty for a mix."""


UNKNOWN_SPEAKER = "somebody"
"""Speaker of segments whose voice is only heard while others speak; not counted as a speaker."""


@dataclass(frozen=True)
class Segment:
    """A stretch of speech by one speaker, as diarized; segments of different speakers may overlap."""

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
    """Unit-length centroid; empty if none was computed."""


@dataclass(frozen=True)
class Word:
    start: float
    end: float
    text: str
    """As in the transcript, with a leading space where the language uses one."""
    probability: float


@dataclass(frozen=True)
class Turn:
    """Speech of one speaker, up to a change of speaker or a long pause."""

    start: float
    end: float
    speaker: str
    track: int
    overlapped: bool
    """Another speaker is heard on the same track. Such turns are recorded, but never used."""
    text: str | None = None
    """Text from a companion file."""
    words: tuple[Word, ...] = ()
    """Words of the text with times, if the companion has them."""
    voice_similarity: float | None = None
    """Least cosine between the voice in a piece of the turn, of about 1.5 s, and in the rest of it; low if
    the voice changes. None for turns with a single piece."""
    speaker_margin: float | None = None
    """By how much the turn's voice is more like its speaker's than like the most similar other speaker's, as
    a difference of cosines; low if the two may be one speaker. None without other speakers."""

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def is_surely_its_speakers(self, margin: float | None) -> bool:
        """Whether `speaker_margin` is at least `margin`, or one of them is None."""
        return margin is None or self.speaker_margin is None or self.speaker_margin >= margin


@dataclass(frozen=True)
class Diarization:
    """Who speaks when in a recording."""

    source: str
    """`model`, or the kind of companion file that it was read from."""
    segments: tuple[Segment, ...]
    speakers: tuple[Speaker, ...]
    turns: tuple[Turn, ...]
    """In order of start, then track. Later stages store one result per turn, in this order."""


@dataclass(frozen=True)
class Transcript:
    """Text of one turn, and measures of how reliable it is."""

    text: str
    language: str
    """ISO 639-1."""
    language_probability: float
    words: tuple[Word, ...]
    source: str
    """`model`, or the kind of companion file that it was read from."""
    average_log_probability: float | None
    """Mean over tokens or words; None if the text is not from the model."""
    no_speech_probability: float | None
    compression_ratio: float
    """Length of the text divided by its zlib-compressed length; high for repetitive text."""
    repeated_share: float
    """Share of words that are part of a repeated n-gram."""
    characters_per_second: float
    longest_word: int
    """Letters of the longest word."""
    phantom: bool
    """The text is a known hallucination: a phrase that recognisers produce on silence or music."""
    recognised_text: str | None = None
    """The text before punctuation was restored and numbers were written in digits; None where neither was."""
    second_text: str | None = None
    """What a second recogniser hears; None without one, or for a language that it doesn't have."""
    disagreement: float | None = None
    """Error rate of the second text against the recognised one; of characters in scripts without spaces."""
    heard_text: str | None = None
    """What the recogniser hears where the text was given; None where that wasn't asked."""
    known_text: str | None = None
    """What is known to be said, where a companion or the sidecar gives it and the recipe compares it with
    what is heard: the text of the turn, or those lines of the sidecar's text that the turn is found in."""
    known_text_error: float | None = None
    """Error rate of what is heard against the known text; of characters in scripts without spaces. Pack
    compares them, so the column of the transcribe stage has no known text yet."""


@dataclass(frozen=True)
class HeardLabel:
    """What a classifier hears in a turn, or several that agree."""

    ear: str
    """Name of the ear in the recipe, such as `emotion`."""
    label: str | None
    """None where classifiers disagree."""
    probability: float
    """Of the likeliest label; the lowest of several classifiers."""


@dataclass(frozen=True)
class QualityMeasures:
    """Measures of the audio of one turn. A measure is None where it is undefined, as pitch without voice."""

    dnsmos_overall: float | None
    """Mean opinion scores by DNSMOS P.835, from 1 to 5."""
    dnsmos_signal: float | None
    dnsmos_background: float | None
    clipped_share: float
    """Share of samples at full scale."""
    speech_share: float
    """Share of the turn's duration that is speech according to the VAD."""
    words_per_second: float | None
    """Per second of speech; in scripts without spaces, two characters count as a word."""
    pitch_median_hz: float | None
    """Over voiced frames."""
    pitch_range_semitones: float | None
    """From the 10th to the 90th percentile of voiced frames."""
    loudness_lufs: float | None
    """Integrated loudness (BS.1770); None for turns under 0.4 s or below its gate."""
    words_outside_speech: float | None = None
    """Share of the words that lie where the VAD hears no speech; None without times of words."""
    voiced_share: float | None = None
    """Share of the time that has a pitch; low in a whisper."""
    sustained_share: float | None = None
    """Share of the voiced time in which the pitch stays within a semitone for 0.3 s or more; high in song."""
    alpha_ratio_db: float | None = None
    """Level of 1 to 5 kHz over that of 50 to 1000 Hz in voiced frames; it rises with vocal effort."""
    melody: tuple[float, ...] | None = None
    """Pitch of every 40 ms as MIDI numbers (69 is A4) to a tenth, 0 where unvoiced; None where the recipe
    didn't ask for it."""
    key: str | None = None
    """Of songs: the key of what is sung, such as `A minor` or `F# major`; None without a clear one."""
    tempo_bpm: float | None = None
    """Of songs: beats per minute; None for turns under 6 s and without a regular beat."""
    vibrato_hz: float | None = None
    """Of songs: waves of the pitch per second; None without a vibrato."""
    vibrato_cents: float | None = None
    """How far a vibrato goes up and down from its middle."""
    heard: tuple[HeardLabel, ...] = ()
    """What the ears of the recipe hear."""

    def heard_by(self, ear: str) -> HeardLabel | None:
        """What an ear hears; None if the recipe had none of this name."""
        return next((heard for heard in self.heard if heard.ear == ear), None)


@dataclass(frozen=True)
class Codes:
    """Codes of one utterance from both codebooks (Step-Audio-AQAA, section 2.1)."""

    linguistic: tuple[Code, ...]
    """Indices 0..1023, 16.67 per second."""
    semantic: tuple[Code, ...]
    """Indices 0..4095, 25 per second."""


@dataclass(frozen=True)
class DecodeColumn:
    """Output of the decode stage."""

    result: DecodedAudio | None
    """None if the recording was set aside."""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class DiarizeColumn:
    """Output of the diarize stage."""

    result: Diarization | None
    """None if the recording was set aside."""
    problems: tuple[Problem, ...] = ()
    companions: tuple[CompanionUse, ...] = ()
    """The companions of the recording, used or not."""


@dataclass(frozen=True)
class TranscribeColumn:
    """Output of the transcribe stage."""

    turns: tuple[Transcript | None, ...]
    """One per turn; None for turns set aside by this or an earlier stage. Empty if the recording was."""
    problems: tuple[Problem, ...] = ()
    companions: tuple[CompanionUse, ...] = ()
    """The companions of the recording, used or not."""


@dataclass(frozen=True)
class QualityColumn:
    """Output of the quality stage."""

    turns: tuple[QualityMeasures | None, ...]
    """One per turn, as in `TranscribeColumn`."""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class TokenizeColumn:
    """Output of the tokenize stage."""

    turns: tuple[Codes | None, ...]
    """One per turn, as in `TranscribeColumn`."""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Recording:
    """A listed recording, and the output of the stages that have processed it so far."""

    id: str
    """Path relative to its input, and so the same wherever the input is stored."""
    uri: str
    bytes: int
    """Size of the file."""
    etag: str
    sidecar: str
    """JSON text of the sidecar `<recording>.json`; `{}` without one."""
    companions: tuple[Companion, ...] = ()
    decode: DecodeColumn | None = None
    diarize: DiarizeColumn | None = None
    transcribe: TranscribeColumn | None = None
    quality: QualityColumn | None = None
    tokenize: TokenizeColumn | None = None

    @property
    def problems(self) -> tuple[tuple[str, Problem], ...]:
        """(stage, problem) for the problems of all stages, in stage order."""
        return tuple(
            (stage, problem)
            for stage in STAGES
            if (column := getattr(self, stage)) is not None
            for problem in column.problems
        )

    @property
    def set_aside(self) -> bool:
        """Whether a stage set the whole recording aside."""
        return any(problem.whole for _, problem in self.problems)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The sidecar, parsed: read-only."""
        return dict(json.loads(self.sidecar))

    @property
    def sings(self) -> bool:
        """Whether it is a song: its sidecar says `singing`, or lyrics came with it."""
        if (said := self.metadata.get("singing")) is not None:
            return str(said).strip().casefold() in ("true", "yes", "1")
        result = self.diarize.result if self.diarize else None
        return bool(self.metadata.get("lyrics")) or (result is not None and result.source == "lrc")

    @property
    def synthesized(self) -> bool:
        """Whether the speech was synthesized from text; a companion file then states its turns and words."""
        return "synthesis" in self.metadata

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self.diarize.result.turns if self.diarize and self.diarize.result else ()

    def live_turns(self) -> list[int]:
        """Indices of the turns that no stage has set aside."""
        if self.set_aside:
            return []
        set_aside = {problem.turn for _, problem in self.problems}
        return [index for index in range(len(self.turns)) if index not in set_aside]


COLUMNS: dict[str, type] = {
    "decode": DecodeColumn,
    "diarize": DiarizeColumn,
    "transcribe": TranscribeColumn,
    "quality": QualityColumn,
    "tokenize": TokenizeColumn,
}
"""The stages of annotate in order, and the type of each stage's column in `Recording`."""

STAGES = tuple(COLUMNS)


@dataclass(frozen=True)
class Unit:
    """Recordings that go through annotate together. Work is scheduled, committed and resumed by unit."""

    id: str
    recordings: tuple[Recording, ...]
