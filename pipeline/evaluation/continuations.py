"""Tokens that a model draws, spoken beside those that were extracted, where nothing is there to compare with.

Held-out utterances are begun; what follows is once what they go on with, and once what the model of both
codebooks goes on with for as long. Both are judged alone: by DNSMOS, and by how sure the recogniser is.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.evaluation.perplexity import BOS, FIRST, CodedUtterance
from pipeline.evaluation.speech_judge import SpeechJudge, SpeechScores, at_16k
from pipeline.evaluation.timed_vocoder import TimedVocoder
from schemas.layout import CODES_PER_GROUP, GROUP_SECONDS, LINGUISTIC_PER_GROUP
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, Ids
from stages.evaluate.estimate import IntervalEstimate, mean
from stages.stage import Samples
from stages.train.sampling import Draw, Sampling
from stages.train.vocoder.shape import HOP, frames_of

if TYPE_CHECKING:
    from stages.train.model import Backbone

BEGUN = 10
"""Groups that are given: 1.2 s."""
LEAST = 10
"""Groups that follow at least."""
MOST = 80
UTTERANCES = 16
TEMPERATURE = 0.8
TOP_P = 0.9

MEASURES = ("dnsmos", "average_log_probability", "no_speech_probability")


@dataclass(frozen=True)
class ContinuationPair:
    """How an utterance goes on, extracted and sampled."""

    source: str
    seconds: float
    """Of what follows."""
    extracted: SpeechScores
    sampled: SpeechScores
    sounds: tuple[Samples, Samples]
    """At 16 kHz, with what was given."""


@dataclass(frozen=True)
class ContinuationComparison:
    pairs: Sequence[ContinuationPair]
    seed: int

    def measures(self) -> dict[str, dict[str, IntervalEstimate | None]]:
        """Measure -> `extracted`, `sampled` -> over all pairs."""
        return {
            name: {
                side: mean([getattr(getattr(pair, side), name) for pair in self.pairs], self.seed)
                for side in ("extracted", "sampled")
            }
            for name in MEASURES
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "begun_seconds": BEGUN * GROUP_SECONDS,
            "temperature": TEMPERATURE,
            "top_p": TOP_P,
            "measures": {
                name: {side: asdict(estimate) if estimate else None for side, estimate in of.items()}
                for name, of in self.measures().items()
            },
            "pairs": [
                {
                    "source": pair.source,
                    "seconds": round(pair.seconds, 3),
                    "extracted": asdict(pair.extracted),
                    "sampled": asdict(pair.sampled),
                }
                for pair in self.pairs
            ],
        }


def compare_continuations(
    model: "Backbone", held: Sequence[CodedUtterance], vocoder: TimedVocoder, judge: SpeechJudge, seed: int
) -> ContinuationComparison:
    """Judge how the first long enough utterances go on; none where all are short."""
    long_enough = [one for one in held if len(one.tokens) >= CODES_PER_GROUP * (BEGUN + LEAST)]
    pairs = []
    for number, one in enumerate(long_enough[:UTTERANCES]):
        extracted = one.tokens[: CODES_PER_GROUP * (BEGUN + MOST)]
        begun = extracted[: CODES_PER_GROUP * BEGUN]
        drawn = sample_continuation(model, begun, len(extracted) // CODES_PER_GROUP - BEGUN, seed + number)
        sounds = [vocoder.speak(tokens.tolist()) for tokens in (extracted, np.concatenate([begun, drawn]))]
        language = judge.language(at_16k(sounds[0]), one.language)
        first = frames_of(len(begun)) * HOP
        alone = [judge.score(at_16k(sound[first:]), language) for sound in sounds]
        heard = at_16k(sounds[0]), at_16k(sounds[1])
        seconds = len(drawn) // CODES_PER_GROUP * GROUP_SECONDS
        pairs.append(ContinuationPair(one.source, seconds, alone[0], alone[1], heard))
    return ContinuationComparison(pairs, seed)


def sample_continuation(model: "Backbone", begun: Ids, groups: int, seed: int) -> Ids:
    """[5 groups] numbers N of `<audio_N>` that a model of both codebooks draws behind some others, in whole
    groups of two linguistic and three semantic codes."""
    from stages.train.backbone import reader_of

    linguistic = np.arange(FIRST, FIRST + LINGUISTIC_CODES)
    semantic = np.arange(FIRST + LINGUISTIC_CODES, FIRST + LINGUISTIC_CODES + SEMANTIC_CODES)
    draw = Draw(Sampling(TEMPERATURE, TOP_P, seed))
    reader = reader_of(model)
    logits = reader.read([BOS, *(begun + FIRST).tolist()])
    drawn: list[int] = []
    for at in range(CODES_PER_GROUP * groups):
        if at:
            logits = reader.read(drawn[-1:])
        drawn.append(draw(logits, linguistic if at % CODES_PER_GROUP < LINGUISTIC_PER_GROUP else semantic))
    return np.array(drawn, np.int32) - FIRST
