"""Tokens judged by what can be heard of them: utterances spoken again, and what comes out beside them.

Three conditions stand side by side: the `original`; `mel`, the waveform that the vocoder's second half makes
of the original's own mel, which is the most that tokens could give; and `tokens`, all the way.
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
from stages.evaluate.words import Errors
from stages.stage import SAMPLE_RATE, Samples, problem_of

CONDITIONS = ("original", "mel", "tokens")
KEPT = 6
"""Utterances whose sound is kept for the report."""

MessageCallback = Callable[[str], None]


@dataclass(frozen=True)
class JudgedUtterance:
    """An utterance in all conditions."""

    name: str
    source: str
    seconds: float
    text: str | None
    """What somebody wrote down."""
    language: str
    tokens: Ids
    conditions: dict[str, ReferenceScores]
    sounds: dict[str, Samples] | None
    """At 16 kHz, of the first few."""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "seconds": round(self.seconds, 3),
            "text": self.text,
            "language": self.language,
            "groups": len(self.tokens) // CODES_PER_GROUP,
            **{name: _as_json(beside) for name, beside in self.conditions.items()},
        }


@dataclass
class Resynthesis:
    """What came of all utterances."""

    found: int
    seed: int
    vocoder: dict[str, Any] = field(default_factory=dict)
    judged: list[JudgedUtterance] = field(default_factory=list)
    set_aside: list[Refused] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.judged)

    def measures(self) -> dict[str, dict[str, IntervalEstimate | None]]:
        """Measure -> condition -> over all utterances that have it; measures that none has are left out."""
        found = {
            f"{name}_{unit}": {c: self._errors(which, c, unit == "cer") for c in CONDITIONS}
            for name, which in (("text", "errors"), ("original", "heard_otherwise"))
            for unit in ("wer", "cer")
        }
        found |= {
            name: {
                c: mean([getattr(one.conditions[c], name) for one in self.judged], self.seed)
                for c in CONDITIONS
            }
            for name in ("similarity", "f0_correlation", "voicing_agreement", "mel_distance")
        }
        found["dnsmos"] = {
            c: mean([one.conditions[c].alone.dnsmos for one in self.judged], self.seed) for c in CONDITIONS
        }
        return {name: of for name, of in found.items() if any(of.values())}

    def _errors(self, which: str, condition: str, characters: bool) -> IntervalEstimate | None:
        counted: list[Errors | None] = [getattr(one.conditions[condition], which) for one in self.judged]
        own = [each for each in counted if each is not None and each.characters == characters]
        return ratio([each.wrong for each in own], [each.of for each in own], self.seed)

    def as_json(self) -> dict[str, Any]:
        measures = {
            name: {condition: asdict(estimate) if estimate else None for condition, estimate in of.items()}
            for name, of in self.measures().items()
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
    originals: Originals, vocoder: TimedVocoder, judge: SpeechJudge, seed: int, said: MessageCallback
) -> Resynthesis:
    """Judge every utterance. What can't be is set aside with its reason. Raises SetupError where nothing is
    left."""
    result = Resynthesis(originals.found, seed)
    for number, original in enumerate(originals, 1):
        if isinstance(original, Original):
            try:
                result.judged.append(_judged(original, vocoder, judge, len(result.judged) < KEPT))
            except Exception as error:
                problem = problem_of(error)
                result.set_aside.append(Refused(original.name, problem.code, problem.message))
        else:
            result.set_aside.append(original)
        said(f"{number} of {len(originals)} utterances judged, {len(result.set_aside)} of them set aside")
    if not result.judged:
        raise SetupError(f"nothing was left to judge: {_listed(result.set_aside)}")
    result.vocoder = vocoder.about()
    return result


def _judged(original: Original, vocoder: TimedVocoder, judge: SpeechJudge, keep: bool) -> JudgedUtterance:
    sounds = vocoder.conditions(original)
    language = judge.language(original.sound, original.language)
    beside = judge.compare(sounds, original.text, language)
    return JudgedUtterance(
        original.name,
        original.source,
        len(original.sound) / SAMPLE_RATE,
        original.text,
        language,
        original.tokens,
        dict(zip(CONDITIONS, beside, strict=True)),
        {name: at_16k(sound) for name, sound in zip(CONDITIONS, sounds, strict=True)} if keep else None,
    )


def _as_json(beside: ReferenceScores) -> dict[str, Any]:
    told = asdict(beside)
    alone: dict[str, Any] = told.pop("alone")
    return alone | told


def _listed(refused: Sequence[Refused]) -> str:
    lines = [f"{one.file}: {one.error}" for one in refused[:5]]
    more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
    return "; ".join(lines) + more
