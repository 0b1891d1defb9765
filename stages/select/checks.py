"""Checks that decide whether a turn is kept. Each one that fails gives a reason to set the turn aside.

A limit of None turns its check off. A check passes if its measure is missing: very short turns have no
DNSMOS, and given transcripts have no probabilities.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.recording import Problem
from schemas.turn import AnnotatedTurn, recording_key
from stages.select.config import SelectConfig
from stages.select.known_text import bad_lyrics, other_language
from stages.select.limits import LIMITS
from stages.select.marks import mark_of
from stages.select.personal import personal

VERSION = 8


def select(turn: AnnotatedTurn, config: SelectConfig) -> Problem | None:
    """The reason of the first check that fails, or None if the turn is kept."""
    return next(_problems(turn, config), None)


def admit(recording: str, metadata: dict[str, Any], config: SelectConfig) -> Problem | None:
    """The reason to set aside a whole recording, by its name or its sidecar; None if it is kept."""
    if config.compares_known_text(sings=True) and (problem := bad_lyrics(metadata)):
        return problem
    if config.denied & {recording, recording_key(recording)}:
        return Problem("denied", "the recipe's deny list names the recording")
    if config.consent == "required" and not _consents(metadata.get("consent")):
        return Problem("no_consent", "the sidecar doesn't say that the speakers consent")
    for field, wanted in config.sidecar.items():
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        value = _at(metadata, field)
        if value is None:
            return Problem("sidecar_lacks_field", f"the sidecar has no field {field}")
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed):
            only = " or ".join(map(repr, allowed))
            return Problem("sidecar_differs", f"the sidecar's {field} is {value!r}, not {only}")
    return None


@dataclass(frozen=True)
class ThresholdResult:
    """The turns that one value of a threshold would keep."""

    value: Any
    turns: int
    seconds: float


def would_keep(
    turns: Iterable[AnnotatedTurn], config: SelectConfig, field: str, values: Sequence[Any]
) -> list[ThresholdResult]:
    """What each of `values` for the threshold `field` would keep, with all other thresholds unchanged."""
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
    return [ThresholdResult(*kept) for kept in zip(values, counts, seconds, strict=True)]


def _problems(turn: AnnotatedTurn, config: SelectConfig) -> Iterator[Problem]:
    """The reasons of all checks that fail, the most obvious first."""

    def problem(code: str, message: str) -> Problem:
        return Problem(code, message, turn.index)

    if turn.problem is not None:
        yield turn.problem
        return
    recording_problem = admit(turn.recording, turn.metadata, config)
    if recording_problem is not None:
        yield problem(recording_problem.code, recording_problem.message)
    if turn.key in config.denied:
        yield problem("denied", "the recipe's deny list names the turn")
    if config.allowed is not None and not config.allowed & {
        *(turn.recording, recording_key(turn.recording), turn.key)
    }:
        yield problem("not_allowed", "the recipe's allow list names neither the turn nor its recording")
    mark = mark_of(turn, config.marked.get(turn.recording, ()))
    if mark is not None and (marked := mark.problem(turn)):
        yield marked
    good = mark is not None and mark.mark == "good"
    if turn.turn.overlapped:
        yield problem("overlapped", "somebody else speaks at the same time")
    if turn.transcript is None or not turn.transcript.text.strip():
        yield problem("no_text", "no words were recognised")
    elif config.phantom and not good and turn.transcript.phantom:
        phrase = turn.transcript.text.strip()
        yield problem("phantom", f"recognisers make up {phrase!r} where nobody speaks")
    elif config.languages is not None and turn.transcript.language not in config.languages:
        wanted = ", ".join(config.languages)
        yield problem("other_language", f"the language is {turn.transcript.language}, not one of {wanted}")
    elif config.pii and (kind := personal(turn.transcript.text)):
        yield problem("personal_data", f"the text holds {kind}")
    for ear, labels in config.heard.items() if not good else ():
        heard = turn.assessment.heard_by(ear) if turn.assessment else None
        if heard is not None and heard.label not in labels:
            said = heard.label or "nothing that its classifiers agree on"
            yield problem("heard_otherwise", f"{ear} hears {said}, not {' or '.join(labels)}")
    for field, (code, what, measure) in LIMITS.items() if not good else ():
        limit = config.limit(field, turn.sings)
        value = measure(turn) if limit is not None else None
        if limit is None or value is None:
            continue
        if field == "known_text_error_max" and value > limit and (told := other_language(turn)):
            yield problem("text_in_other_language", told)
        if field.endswith("_min") and value < limit:
            yield problem(code, f"{what} is {value:.4g}, under the limit of {limit:g}")
        if field.endswith("_max") and value > limit:
            yield problem(code, f"{what} is {value:.4g}, over the limit of {limit:g}")


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _consents(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.strip().casefold() in ("true", "yes", "given"))
