"""Resynthesis: utterances are synthesized again from their tokens and compared with the original.

There are three conditions: `original`; `mel`, the waveform that the second half of the vocoder makes from the
original's own mel spectrogram, an upper bound for tokens; and `tokens`, the whole vocoder. A vocoder with the
generator of a voice has no `mel`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.evaluation.originals import Original, Originals
from pipeline.evaluation.speech_judge import ReferenceScores, SpeechJudge, at_16k
from pipeline.evaluation.timed_vocoder import TimedVocoder
from pipeline.inference.tokenize_files import Refused
from schemas.errors import SetupError
from schemas.layout import CODES_PER_GROUP
from schemas.vocabulary import Ids
from stages.evaluate.estimate import IntervalEstimate, mean, ratio
from stages.stage import SAMPLE_RATE, Samples, problem_of
from stages.word_errors import Errors

REPORTED = 6
"""Utterances whose audio is kept for the report."""

MessageCallback = Callable[[str], None]
"""Gets lines of progress."""


@dataclass(frozen=True)
class JudgedUtterance:
    """The scores of an utterance in all conditions."""

    name: str
    source: str
    seconds: float
    text: str | None
    """Written by a person; None without one."""
    language: str
    tokens: Ids
    conditions: dict[str, ReferenceScores]
    sounds: dict[str, Samples] | None
    """Condition -> samples at 16 kHz; only for the first utterances."""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "seconds": round(self.seconds, 3),
            "text": self.text,
            "language": self.language,
            "groups": len(self.tokens) // CODES_PER_GROUP,
            **{name: _as_json(scores) for name, scores in self.conditions.items()},
        }


@dataclass
class Resynthesis:
    """The results of all utterances."""

    found: int
    seed: int
    vocoder: dict[str, Any] = field(default_factory=dict)
    judged: list[JudgedUtterance] = field(default_factory=list)
    set_aside: list[Refused] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.judged)

    @property
    def conditions(self) -> tuple[str, ...]:
        return tuple(self.judged[0].conditions) if self.judged else ()

    def measures(self) -> dict[str, dict[str, IntervalEstimate | None]]:
        """Measure -> condition -> estimate over the utterances that have it; without unmeasured ones."""
        measures = {
            f"{name}_{unit}": {c: self._errors(which, c, unit == "cer") for c in self.conditions}
            for name, which in (("text", "errors"), ("original", "heard_otherwise"))
            for unit in ("wer", "cer")
        }
        measures |= {
            name: {
                c: mean([getattr(one.conditions[c], name) for one in self.judged], self.seed)
                for c in self.conditions
            }
            for name in ("similarity", "f0_correlation", "voicing_agreement", "mel_distance")
        }
        measures["dnsmos"] = {
            c: mean([one.conditions[c].alone.dnsmos for one in self.judged], self.seed)
            for c in self.conditions
        }
        return {name: by_condition for name, by_condition in measures.items() if any(by_condition.values())}

    def _errors(self, which: str, condition: str, characters: bool) -> IntervalEstimate | None:
        every: list[Errors | None] = [getattr(one.conditions[condition], which) for one in self.judged]
        counted = [errors for errors in every if errors is not None and errors.characters == characters]
        return ratio([errors.wrong for errors in counted], [errors.of for errors in counted], self.seed)

    def as_json(self) -> dict[str, Any]:
        measures = {
            name: {condition: asdict(estimate) if estimate else None for condition, estimate in row.items()}
            for name, row in self.measures().items()
        }
        return {
            "utterances": {
                "found": self.found,
                "judged": len(self.judged),
                "set_aside": len(self.set_aside),
                "not_drawn": self.found - len(self.judged) - len(self.set_aside),
            },
            "seconds": round(self.seconds, 3),
            "reasons": dict(Counter(refused.code for refused in self.set_aside)),
            "vocoder": self.vocoder,
            "measures": measures,
            "judged": [one.as_json() for one in self.judged],
            "set_aside": [refused.as_json() for refused in self.set_aside],
        }


def resynthesise(
    originals: Originals, vocoder: TimedVocoder, judge: SpeechJudge, seed: int, progress: MessageCallback
) -> Resynthesis:
    """Judge every utterance; those that can't be judged are set aside with a reason.

    Raises SetupError if none is left.
    """
    result = Resynthesis(originals.found, seed)
    for number, original in enumerate(originals, 1):
        if isinstance(original, Original):
            try:
                result.judged.append(_judged(original, vocoder, judge, len(result.judged) < REPORTED))
            except Exception as error:
                problem = problem_of(error)
                result.set_aside.append(Refused(original.name, problem.code, problem.message))
        else:
            result.set_aside.append(original)
        progress(f"{number} of {len(originals)} utterances judged, {len(result.set_aside)} of them set aside")
    if not result.judged:
        raise SetupError(f"there is nothing left to judge: {_listed(result.set_aside)}")
    result.vocoder = vocoder.about()
    return result


def _judged(original: Original, vocoder: TimedVocoder, judge: SpeechJudge, keep: bool) -> JudgedUtterance:
    audios = vocoder.conditions(original)
    language = judge.language(original.samples, original.language)
    scores = judge.compare(list(audios.values()), original.text, language)
    return JudgedUtterance(
        original.name,
        original.source,
        len(original.samples) / SAMPLE_RATE,
        original.text,
        language,
        original.tokens,
        dict(zip(audios, scores, strict=True)),
        {name: at_16k(audio) for name, audio in audios.items()} if keep else None,
    )


def _as_json(scores: ReferenceScores) -> dict[str, Any]:
    values = asdict(scores)
    alone: dict[str, Any] = values.pop("alone")
    return alone | values


def _listed(refused: Sequence[Refused]) -> str:
    lines = [f"{one.file}: {one.error}" for one in refused[:5]]
    more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
    return "; ".join(lines) + more
