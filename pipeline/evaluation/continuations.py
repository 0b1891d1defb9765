"""Sampled tokens against extracted tokens, by measures that need no reference.

The beginning of held-out utterances is continued twice: with the extracted tokens that follow, and with as
many tokens sampled from the model of both codebooks. Both continuations are scored by DNSMOS and by the
confidence of the recogniser.
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

PROMPT_GROUPS = 10
"""Groups that are given: 1.2 s."""
MIN_GROUPS, MAX_GROUPS = 10, 80
"""Groups of a continuation."""
UTTERANCES = 16
"""Most utterances that are continued."""
TEMPERATURE = 0.8
TOP_P = 0.9

MEASURES = ("dnsmos", "average_log_probability", "no_speech_probability")


@dataclass(frozen=True)
class ContinuationPair:
    """The extracted and the sampled continuation of an utterance."""

    source: str
    seconds: float
    """Duration of the continuation."""
    extracted: SpeechScores
    sampled: SpeechScores
    sounds: tuple[Samples, Samples]
    """Extracted and sampled, at 16 kHz, with the given beginning."""


@dataclass(frozen=True)
class ContinuationComparison:
    pairs: Sequence[ContinuationPair]
    seed: int

    def measures(self) -> dict[str, dict[str, IntervalEstimate | None]]:
        """Measure -> `extracted`, `sampled` -> estimate over all pairs."""
        return {
            name: {
                side: mean([getattr(getattr(pair, side), name) for pair in self.pairs], self.seed)
                for side in ("extracted", "sampled")
            }
            for name in MEASURES
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "begun_seconds": PROMPT_GROUPS * GROUP_SECONDS,
            "temperature": TEMPERATURE,
            "top_p": TOP_P,
            "measures": {
                name: {side: asdict(estimate) if estimate else None for side, estimate in sides.items()}
                for name, sides in self.measures().items()
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
    """Continue and score the first utterances that are long enough; without pairs if all are too short."""
    long_enough = [one for one in held if len(one.tokens) >= CODES_PER_GROUP * (PROMPT_GROUPS + MIN_GROUPS)]
    pairs = []
    for number, one in enumerate(long_enough[:UTTERANCES]):
        extracted = one.tokens[: CODES_PER_GROUP * (PROMPT_GROUPS + MAX_GROUPS)]
        prompt = extracted[: CODES_PER_GROUP * PROMPT_GROUPS]
        sampled = sample_continuation(
            model, prompt, len(extracted) // CODES_PER_GROUP - PROMPT_GROUPS, seed + number
        )
        audios = [vocoder.speak(tokens.tolist()) for tokens in (extracted, np.concatenate([prompt, sampled]))]
        language = judge.language(at_16k(audios[0]), one.language)
        first = frames_of(len(prompt)) * HOP
        scores = [judge.score(at_16k(audio[first:]), language) for audio in audios]
        seconds = len(sampled) // CODES_PER_GROUP * GROUP_SECONDS
        whole = at_16k(audios[0]), at_16k(audios[1])
        pairs.append(ContinuationPair(one.source, seconds, scores[0], scores[1], whole))
    return ContinuationComparison(pairs, seed)


def sample_continuation(model: "Backbone", prompt: Ids, groups: int, seed: int) -> Ids:
    """Numbers N of `<audio_N>`, [5 groups], sampled from a model of both codebooks after those of `prompt`.

    Whole groups of two linguistic and three semantic codes; the same `seed` gives the same codes.
    """
    from stages.train.backbone import reader_of

    linguistic = np.arange(FIRST, FIRST + LINGUISTIC_CODES)
    semantic = np.arange(FIRST + LINGUISTIC_CODES, FIRST + LINGUISTIC_CODES + SEMANTIC_CODES)
    draw = Draw(Sampling(TEMPERATURE, TOP_P, seed))
    reader = reader_of(model)
    logits = reader.read([BOS, *(prompt + FIRST).tolist()])
    ids: list[int] = []
    for n in range(CODES_PER_GROUP * groups):
        if n:
            logits = reader.read(ids[-1:])
        ids.append(draw(logits, linguistic if n % CODES_PER_GROUP < LINGUISTIC_PER_GROUP else semantic))
    return np.array(ids, np.int32) - FIRST
