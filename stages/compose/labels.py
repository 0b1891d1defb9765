"""Style labels of turns: slow or fast, low or high, flat or lively, soft or loud, whispers, and dialects.

All but the last two are relative to the speaker: each turn is compared with the median of all turns of its
speaker in the recording.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from pydantic import Field

from schemas.dialect import dialect_of
from schemas.recording import UNKNOWN_SPEAKER, QualityMeasures
from schemas.style import SCALES, WHISPERED, emotion_of
from schemas.turn import AnnotatedTurn
from stages.compose.plain_comparison import (
    PlainComparison,
    compare_with_plain,
    logarithm,
    on_scale,
    semitones,
)
from stages.stage import Config

Labels = Mapping[str, str]
"""`rate`, `pitch`, `liveliness`, `loudness`, `voicing`, `emotion`, `dialect` -> label, of those known."""

_CLAIMED = {"emotion": emotion_of, "dialect": dialect_of}
"""Labels that are claimed by sidecars and heard by ears of the same name -> what a name of one means."""


class LabelsConfig(Config):
    """How far a turn must deviate from its speaker's median to get a label other than `normal`."""

    turns_min: int = Field(
        3, ge=2, description="minimum number of measured turns of a speaker; with fewer, they get no labels"
    )
    rate_factor: float = Field(
        1.2,
        gt=1,
        description="a turn is `fast` or `slow` if its words per second differ from the speaker's median by "
        "at least this factor",
    )
    pitch_semitones: float = Field(
        2.0,
        gt=0,
        description="a turn is `high` or `low` if its median pitch differs from the speaker's by at least "
        "this many semitones",
    )
    liveliness_factor: float = Field(
        1.4,
        gt=1,
        description="a turn is `lively` or `flat` if its pitch range differs from the speaker's median by at "
        "least this factor",
    )
    loudness_lu: float = Field(
        3.0,
        gt=0,
        description="a turn is `loud` or `soft` if its loudness differs from the speaker's median by at "
        "least this many loudness units (LU)",
    )
    whisper_voiced_max: float | None = Field(
        None,
        gt=0,
        le=1,
        description="a turn is `whispered` if at most this share of its speech has a pitch, such as 0.49 "
        "(none: no turn is); see the benchmarks for how well that tells",
    )
    emotion_probability_min: float = Field(
        0.6,
        ge=0,
        le=1,
        description="a turn without a claimed emotion gets the one that `quality.ears.emotion` hears with at "
        "least this probability; a claimed one is kept if it is heard at all, and else dropped",
    )
    dialect_probability_min: float = Field(
        0.6, ge=0, le=1, description="the same for dialects and `quality.ears.dialect`"
    )
    dialect_sources: dict[str, str] = Field(
        {},
        description="beginning of the paths or of the URIs of recordings -> the dialect that is spoken in "
        "them, such as {sichuan/: sichuanese, s3://yue/: cantonese}; the longest that fits counts, and a "
        "sidecar's `dialect` counts more",
    )

    @property
    def names_places(self) -> bool:
        """Whether labels depend on where recordings are."""
        return any("://" in source for source in self.dialect_sources)

    @property
    def limits(self) -> dict[str, float]:
        """Measure -> difference from which speech has another label than `normal`: logarithms of rate and
        liveliness, semitones and loudness units."""
        return {
            "rate": math.log(self.rate_factor),
            "pitch": self.pitch_semitones,
            "liveliness": math.log(self.liveliness_factor),
            "loudness": self.loudness_lu,
        }


def voicing(turn: AnnotatedTurn, config: LabelsConfig) -> Labels:
    """Whether a turn is whispered or normal; empty if that isn't asked or measured."""
    measured = turn.assessment
    if config.whisper_voiced_max is None or measured is None or measured.voiced_share is None:
        return {}
    return voicing_of(measured.voiced_share, measured.speech_share, config.whisper_voiced_max)


def voicing_of(voiced_share: float, speech_share: float, voiced_max: float) -> Labels:
    """Whether it is whispered or normal, by the shares of frames with a pitch, and of speech; empty without
    speech."""
    if not speech_share:
        return {}
    return {"voicing": WHISPERED if voiced_share <= voiced_max * speech_share else "normal"}


def label(turns: Sequence[AnnotatedTurn], config: LabelsConfig) -> dict[int, Labels]:
    """Label the turns of one recording: turn index -> labels.

    Turns that were set aside, and turns with overlapping speech, are neither compared nor included in the
    median. Emotion is not measured but read from the sidecar: `emotion` for the whole recording, or
    `emotions` as a list of `{start, end, emotion}` in seconds. Of the latter, a turn gets the emotion that
    covers most of it, if that is at least half of the turn. Likewise `dialect` and `dialects`. Synthesised
    turns are labelled with the style that was requested. Where an ear named `emotion` or `dialect` heard the
    turn, a claim counts only if it heard the same, and turns that claim none get what it is sure of.
    """
    limits = config.limits
    by_speaker: dict[str, list[AnnotatedTurn]] = {}
    for turn in turns:
        known = turn.turn.speaker != UNKNOWN_SPEAKER  # turns of somebody may be of several people
        if known and turn.assessment is not None and turn.problem is None and not turn.turn.overlapped:
            by_speaker.setdefault(turn.turn.speaker, []).append(turn)
    labels: dict[int, dict[str, str]] = {turn.index: {} for turn in turns}
    for speaker_turns in by_speaker.values():
        for name, scale in SCALES.items():
            values = {
                t.index: v
                for t in speaker_turns
                if t.assessment and (v := _MEASURES[name](t.assessment)) is not None
            }
            if len(values) < config.turns_min:
                continue
            speaker_median = median(values.values())
            for index, value in values.items():
                labels[index][name] = on_scale(scale, value - speaker_median, limits[name])
        for turn in speaker_turns:
            own = labels[turn.index]
            own |= voicing(turn, config)
            if own.get("voicing") == WHISPERED:  # there is hardly any pitch to compare
                own.pop("pitch", None)
                own.pop("liveliness", None)
    for turn in turns:
        labels[turn.index] |= claimed_labels(turn, config)
        for name in _CLAIMED:
            labels[turn.index].pop(name, None)
            if named := _known(turn, name, config):
                labels[turn.index][name] = named
    return dict(labels)


def claimed_labels(turn: AnnotatedTurn, config: LabelsConfig) -> Labels:
    """The labels of the style that was requested for a synthesised turn, the emotion and the dialect of the
    sidecar, or the dialect of the recording's source."""
    said = {name: value for name in _CLAIMED if (value := _said(turn, name))}
    places = turn.recording, turn.uri
    sources = (s for s in config.dialect_sources if any(place.startswith(s) for place in places))
    if (source := max(sources, key=len, default=None)) is not None:
        said.setdefault("dialect", config.dialect_sources[source])
    claimed = {**said, **_requested_labels(turn)}
    return claimed | ({"dialect": dialect_of(claimed["dialect"])} if "dialect" in claimed else {})


def dialect_in(turn: AnnotatedTurn, config: LabelsConfig) -> str | None:
    """The dialect that is spoken in a turn; None where nothing says which."""
    return _known(turn, "dialect", config)


def _known(turn: AnnotatedTurn, name: str, config: LabelsConfig) -> str | None:
    """The claimed emotion or dialect, unless the ear heard another; without a claim, what the ear is sure of,
    or what the language implies."""
    claimed, meaning = claimed_labels(turn, config).get(name), _CLAIMED[name]
    heard = turn.assessment.heard_by(name) if turn.assessment else None
    if heard is None:
        language = turn.transcript.language if turn.transcript else None
        return claimed or ("cantonese" if name == "dialect" and language == "yue" else None)
    if claimed is not None:
        return claimed if meaning(claimed) == meaning(heard.label or "") else None
    sure = heard.probability >= getattr(config, f"{name}_probability_min")
    return meaning(heard.label) if heard.label and sure else None


def heard_labels(turn: AnnotatedTurn, config: LabelsConfig) -> Labels:
    """What is heard of a turn's style: whether it is whispered; by measures of a synthesised turn, against
    the same words that its voice spoke plainly, where it did; and by ears named `emotion` and `dialect`, if
    the recipe has them."""
    by_ear = {
        name: meaning(heard.label or "several")
        for name, meaning in _CLAIMED.items()
        if turn.assessment and (heard := turn.assessment.heard_by(name)) is not None
    }
    against_plain = {name: found.label for name, found in compared(turn, config).items()}
    return {**by_ear, **voicing(turn, config), **against_plain}


def compared(turn: AnnotatedTurn, config: LabelsConfig) -> dict[str, PlainComparison]:
    """Measure -> comparison of a synthesised turn with the same words that its voice spoke plainly; empty if
    it didn't."""
    plain, measured = synthesised(turn).get("plain"), turn.assessment
    if not isinstance(plain, dict) or measured is None:
        return {}
    heard = {
        "speech_seconds": measured.speech_share * turn.turn.seconds,
        "pitch_median_hz": measured.pitch_median_hz,
        "pitch_range_semitones": measured.pitch_range_semitones,
        "loudness_lufs": measured.loudness_lufs,
    }
    return compare_with_plain(plain, heard, config.limits)


def _requested_labels(turn: AnnotatedTurn) -> Labels:
    """The labels of the style that was requested for a synthesised turn; empty for other turns."""
    labels = synthesised(turn).get("labels")
    return {str(name): str(value) for name, value in labels.items()} if isinstance(labels, dict) else {}


def outcomes(turn: AnnotatedTurn, config: LabelsConfig) -> list[str]:
    """`slow/confirmed`, `slow/refused` or `slow/not_measured` for each claimed style, emotion and dialect."""
    heard = heard_labels(turn, config)
    outcome = {None: "not_measured", True: "confirmed", False: "refused"}
    return [f"{label}/{outcome[is_heard(name, label, heard)]}" for name, label in _styles_of(turn, config)]


def is_heard(measure: str, label: str, heard: Labels) -> bool | None:
    """Whether a label of a measure, an emotion or a dialect is heard; None if nothing is heard of it."""
    return heard[measure] in (label, emotion_of(label)) if measure in heard else None


def unheard_style(turn: AnnotatedTurn, config: LabelsConfig) -> str | None:
    """What is claimed of a turn's style and heard otherwise, with what is measured; None if nothing is."""
    heard, measured = heard_labels(turn, config), compared(turn, config)
    for name, label in _styles_of(turn, config):
        if is_heard(name, label, heard) is False:
            values = f": {measured[name]}" if name in measured else ""
            return f"it is to be {label}, and is heard as {heard[name]}{values}"
    return None


def _styles_of(turn: AnnotatedTurn, config: LabelsConfig) -> list[tuple[str, str]]:
    """The claimed labels that are not of plain speech."""
    return [item for item in claimed_labels(turn, config).items() if item[1] not in ("normal", "neutral")]


def synthesised(turn: AnnotatedTurn) -> Mapping[str, Any]:
    """What synthesis noted of a turn that it spoke: its `voice`, the `labels` of its style and so on; empty
    for turns of people."""
    match turn.metadata.get("synthesis"):
        case {"spoken": [*spoken]} if turn.index < len(spoken) and isinstance(spoken[turn.index], dict):
            return dict(spoken[turn.index])
    return {}


def synthetic_voice(turn: AnnotatedTurn) -> str | None:
    """What spoke a synthesised turn and with which voice, such as `kokoro: af_heart`; None for people."""
    voice = synthesised(turn).get("voice")
    return f"{turn.metadata['synthesis'].get('speech')}: {voice}" if isinstance(voice, str) else None


_MEASURES: dict[str, Callable[[QualityMeasures], float | None]] = {
    "rate": lambda measures: logarithm(measures.words_per_second),
    "pitch": lambda measures: semitones(measures.pitch_median_hz),
    "liveliness": lambda measures: logarithm(measures.pitch_range_semitones),
    "loudness": lambda measures: measures.loudness_lufs,
}
"""Measures on a scale where equal differences are equally audible: logarithmic, semitones or LUFS."""


def _said(turn: AnnotatedTurn, name: str) -> str | None:
    """The emotion or dialect that the sidecar gives for a turn: of the segments that it lists, or of all."""
    sidecar = turn.metadata
    seconds: dict[str, float] = {}
    segments = sidecar.get(f"{name}s")
    for segment in segments if isinstance(segments, list) else ():
        match segment:
            case {"start": int() | float() as start, "end": int() | float() as end}:
                if isinstance(label := segment.get(name), str):
                    seconds[label] = seconds.get(label, 0.0) + _overlap(turn, start, end)
    if any(seconds.values()):
        longest = max(seconds, key=lambda label: (seconds[label], label))
        return longest if seconds[longest] >= turn.turn.seconds / 2 else None
    whole: Any = sidecar.get(name)
    return whole if isinstance(whole, str) and whole else None


def _overlap(turn: AnnotatedTurn, start: float, end: float) -> float:
    return max(0.0, min(turn.turn.end, end) - max(turn.turn.start, start))
