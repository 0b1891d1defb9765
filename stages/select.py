"""Which turns are good enough: a row of checks, each of which has a reason to set a turn aside or none.

A measure that was not taken (no DNSMOS of half a second, no probabilities of a given transcript) is
no reason. Every limit of None is off.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from pydantic import Field

from schemas.recording import Problem
from schemas.turn import AnnotatedTurn
from stages.stage import Config

VERSION = 1

Scalar = bool | int | float | str


class SelectConfig(Config):
    """Defaults for real speech of all kinds: calls and meetings mostly stay, made-up text mostly goes."""

    seconds_min: float | None = Field(1.0, description="shortest turn, seconds")
    seconds_max: float | None = Field(60.0, description="longest turn, seconds")
    words_min: int | None = Field(
        1, description="fewest words; two characters make one in languages written without spaces"
    )
    languages: tuple[str, ...] | None = Field(None, description="ISO 639-1 codes to keep, such as [en, zh]")
    language_probability_min: float | None = Field(
        0.3, description="least certainty of the language, 0..1; short turns seldom reach much more"
    )
    phantom: bool = Field(
        True, description="set aside text that recognisers are known to make up on silence or music"
    )
    average_log_probability_min: float | None = Field(
        -1.0, description="least mean log probability of the transcript's tokens"
    )
    no_speech_probability_max: float | None = Field(
        0.8, description="highest probability, by the recogniser, that nobody speaks"
    )
    compression_ratio_max: float | None = Field(
        2.4, description="highest text length over zlib length: text that repeats itself"
    )
    repeated_share_max: float | None = Field(
        0.3, description="highest share of words in repeated n-grams, 0..1"
    )
    characters_per_second_min: float | None = Field(1.0, description="fewest characters a second")
    characters_per_second_max: float | None = Field(35.0, description="most characters a second")
    longest_word_max: int | None = Field(40, description="letters of the longest word")
    words_per_second_min: float | None = Field(0.5, description="slowest speech, words a second of speech")
    words_per_second_max: float | None = Field(8.0, description="fastest speech, words a second of speech")
    dnsmos_overall_min: float | None = Field(
        1.5, description="least DNSMOS overall quality, 1..5; 2.5 for clean sets, 3 for voices to copy"
    )
    speech_share_min: float | None = Field(0.4, description="least share of the turn with speech in it, 0..1")
    clipped_share_max: float | None = Field(0.01, description="highest share of samples at full scale, 0..1")
    loudness_min: float | None = Field(-60.0, description="quietest turn, LUFS")
    sidecar: dict[str, Scalar | tuple[Scalar, ...]] = Field(
        {},
        description="field of the sidecar (dots for nesting) -> value or values to keep; "
        "recordings that lack the field are set aside",
    )


def select(turn: AnnotatedTurn, config: SelectConfig) -> Problem | None:
    """Why a turn is set aside, by the first check that finds something; None where it is kept."""
    return next(_problems(turn, config), None)


def admit(sidecar: str, config: SelectConfig) -> Problem | None:
    """Why a whole recording is set aside for what its sidecar says or doesn't say."""
    for field, wanted in config.sidecar.items():
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        value = _at(json.loads(sidecar), field)
        if value is None:
            return Problem("sidecar_lacks_field", f"the sidecar has no field {field}")
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed):
            only = " or ".join(map(repr, allowed))
            return Problem("sidecar_differs", f"the sidecar's {field} is {value!r}, not {only}")
    return None


@dataclass(frozen=True)
class Kept:
    """What a threshold would keep of some turns."""

    value: Any
    turns: int
    seconds: float


def would_keep(
    turns: Iterable[AnnotatedTurn], config: SelectConfig, field: str, values: Sequence[Any]
) -> list[Kept]:
    """What other values of one threshold would keep, all other thresholds as they are."""
    off = config.model_copy(update={field: False if field == "phantom" else None})
    others = [config.model_copy(update={field: value}) for value in values]
    counts = [0] * len(values)
    seconds = [0.0] * len(values)
    for turn in turns:
        if select(turn, off) is not None:
            continue
        for n, other in enumerate(others):
            if select(turn, other) is None:
                counts[n] += 1
                seconds[n] += turn.turn.seconds
    return [Kept(*kept) for kept in zip(values, counts, seconds, strict=True)]


def _problems(turn: AnnotatedTurn, config: SelectConfig) -> Iterator[Problem]:
    """Everything that speaks against a turn, the plainest reason first."""

    def problem(code: str, message: str) -> Problem:
        return Problem(code, message, turn.index)

    if turn.problem is not None:
        yield turn.problem
        return
    refused = admit(turn.sidecar, config)
    if refused is not None:
        yield problem(refused.code, refused.message)
    if turn.turn.overlapped:
        yield problem("overlapped", "somebody else speaks at the same time")
    if turn.transcript is None or not turn.transcript.text.strip():
        yield problem("no_text", "no words were recognised")
    elif config.phantom and turn.transcript.phantom:
        phrase = turn.transcript.text.strip()
        yield problem("phantom", f"recognisers make up {phrase!r} where nobody speaks")
    elif config.languages is not None and turn.transcript.language not in config.languages:
        wanted = ", ".join(config.languages)
        yield problem("other_language", f"the language is {turn.transcript.language}, not one of {wanted}")
    for field, (code, what, measure) in LIMITS.items():
        limit = getattr(config, field)
        value = measure(turn) if limit is not None else None
        if value is None:
            continue
        if field.endswith("_min") and value < limit:
            yield problem(code, f"{what} is {value:.4g}, under the limit of {limit:g}")
        if field.endswith("_max") and value > limit:
            yield problem(code, f"{what} is {value:.4g}, over the limit of {limit:g}")


def _of(path: str) -> Callable[[AnnotatedTurn], float | None]:
    """A measure of the transcript or the assessment, None where there is none."""
    column, name = path.split(".")
    return lambda turn: None if (found := getattr(turn, column)) is None else attrgetter(name)(found)


_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which put no spaces between words."""


def _words(turn: AnnotatedTurn) -> float | None:
    if turn.transcript is None:
        return None
    spaced, unspaced = _UNSPACED.subn(" ", turn.transcript.text)
    return len(re.findall(r"\w+(?:['’-]\w+)*", spaced)) + unspaced / 2


LIMITS: dict[str, tuple[str, str, Callable[[AnnotatedTurn], float | None]]] = {
    "seconds_min": ("too_short", "the turn's length in seconds", lambda turn: turn.turn.seconds),
    "seconds_max": ("too_long", "the turn's length in seconds", lambda turn: turn.turn.seconds),
    "words_min": ("few_words", "the number of words", _words),
    "compression_ratio_max": ("repetitive", "the compression ratio", _of("transcript.compression_ratio")),
    "repeated_share_max": ("repeats_itself", "the share of repeated words", _of("transcript.repeated_share")),
    "no_speech_probability_max": (
        "no_speech_likely",
        "the probability that nobody speaks",
        _of("transcript.no_speech_probability"),
    ),
    "language_probability_min": (
        "language_unsure",
        "the probability of the language",
        _of("transcript.language_probability"),
    ),
    "average_log_probability_min": (
        "text_unsure",
        "the mean log probability of the text",
        _of("transcript.average_log_probability"),
    ),
    "characters_per_second_min": (
        "little_text",
        "the number of characters a second",
        _of("transcript.characters_per_second"),
    ),
    "characters_per_second_max": (
        "much_text",
        "the number of characters a second",
        _of("transcript.characters_per_second"),
    ),
    "longest_word_max": ("long_word", "the longest word's number of letters", _of("transcript.longest_word")),
    "words_per_second_min": ("slow", "the number of words a second", _of("assessment.words_per_second")),
    "words_per_second_max": ("fast", "the number of words a second", _of("assessment.words_per_second")),
    "speech_share_min": ("little_speech", "the share of speech", _of("assessment.speech_share")),
    "dnsmos_overall_min": ("poor_quality", "DNSMOS overall", _of("assessment.dnsmos_overall")),
    "clipped_share_max": ("clipped", "the share of clipped samples", _of("assessment.clipped_share")),
    "loudness_min": ("quiet", "the loudness in LUFS", _of("assessment.loudness_lufs")),
}
"""Field of the config -> code of its reason, what it measures, and how: the order of the checks."""


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document
