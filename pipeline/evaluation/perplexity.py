"""Is either codebook easier to foretell beside the other? (Step-Audio-AQAA's case for two codebooks)

Three models of the same shape, start, data, steps and tokens of a step learn to foretell the next token: of
linguistic codes alone, of semantic codes alone, and of both merged 2:3. They are asked of utterances that
none of them learnt from. Rates differ (16.67, 25 and 41.67 tokens a second), so nats a second stand beside
nats a token.
"""

import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from schemas.errors import SetupError
from schemas.hashing import shuffle_key
from schemas.layout import CODES_PER_GROUP, GROUP_SECONDS, LINGUISTIC_PER_GROUP
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, Ids, Modality
from stages.evaluate.estimate import IntervalEstimate, ratio
from stages.train.config import TrainConfig
from stages.train.documents import INDEX, Document, Documents
from stages.train.loop import TrainingData
from stages.train.progress import ProgressCallback
from stages.train.run import Start, run

if TYPE_CHECKING:
    from stages.train.model import Backbone

BOS, EOS = 1, 2
FIRST = 3
"""Id of linguistic code 0."""
VOCABULARY: dict[str, Any] = {
    "specials": {"pad": 0, "bos": BOS, "eos": EOS},
    "linguistic": {"first": FIRST, "codes": LINGUISTIC_CODES},
    "semantic": {"first": FIRST + LINGUISTIC_CODES, "codes": SEMANTIC_CODES},
    "size": FIRST + LINGUISTIC_CODES + SEMANTIC_CODES,
}
"""Codes and little else: the smaller the head, the more can be learnt in a minute."""

KINDS = ("linguistic", "semantic", "both")
HELD = 0.2
"""Share of the time that is held out."""
LEAST = 60.0
"""Seconds of speech under which there is nothing to compare."""


@dataclass(frozen=True)
class CodedUtterance:
    """An utterance's codes."""

    source: str
    """What is held out together."""
    tokens: Ids
    """[5 g] numbers N of `<audio_N>`."""
    language: str | None = None

    @property
    def seconds(self) -> float:
        return len(self.tokens) // CODES_PER_GROUP * GROUP_SECONDS

    def of(self, kind: str) -> Ids:
        """ids [n] with their beginning and end, of one codebook or both."""
        groups = self.tokens.reshape(-1, CODES_PER_GROUP)
        part = {
            "linguistic": groups[:, :LINGUISTIC_PER_GROUP],
            "semantic": groups[:, LINGUISTIC_PER_GROUP:],
            "both": groups,
        }[kind]
        return np.concatenate([[BOS], part.ravel() + FIRST, [EOS]]).astype(np.int32)


@dataclass(frozen=True)
class PredictionLoss:
    """How well a model foretells held-out codes of a codebook, alone or beside the other."""

    nats_per_token: IntervalEstimate
    nats_per_second: IntervalEstimate

    @property
    def perplexity(self) -> float:
        return math.exp(self.nats_per_token.value)


@dataclass(frozen=True)
class Comparison:
    steps: int
    tokens_per_step: int
    parameters: int
    seconds: Mapping[str, float]
    """Of speech, `learnt` and `held`."""
    sources: Mapping[str, int]
    epochs: Mapping[str, float]
    """Kind -> how often its model saw what it learnt from."""
    learnt: Mapping[str, float]
    """Kind -> nats per token over the last twentieth of the steps, of what was learnt."""
    unigram: Mapping[str, float]
    """Codebook -> nats per token by how often each code comes, counted where the models learn."""
    alone: Mapping[str, PredictionLoss]
    """Kind -> by the model of that kind; of `both`, all of its tokens."""
    beside: Mapping[str, PredictionLoss]
    """Codebook -> by the model of both."""

    def as_json(self) -> dict[str, Any]:
        told = asdict(self)
        for part in ("alone", "beside"):
            for kind, foretold in getattr(self, part).items():
                told[part][kind]["perplexity"] = foretold.perplexity
        return told


@dataclass(frozen=True)
class TrainedComparison:
    """What the comparison leaves for sampling."""

    comparison: Comparison
    model: "Backbone"
    """Of both codebooks."""
    held: Sequence[CodedUtterance]


def compare(
    utterances: Sequence[CodedUtterance], steps: int, seed: int, said: ProgressCallback = lambda line: None
) -> TrainedComparison:
    """Train the three, and ask them. Raises SetupError where there is too little speech."""
    from stages.train.backbone import load

    learnt, held = held_out([one for one in utterances if len(one.tokens)], seed)
    there = _seconds(learnt) + _seconds(held)
    if not learnt or there < LEAST:
        sources = len({one.source for one in utterances})
        raise SetupError(
            f"{there:.0f} s of speech from {sources} recordings are too little for --perplexity: it takes "
            f"{LEAST:.0f} s from several"
        )
    config = config_of(steps, seed, max(len(one.of("both")) for one in learnt))
    alone, beside = {}, {}
    epochs, last = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind in KINDS:
            documents = documents_of([one.of(kind) for one in learnt])
            losses: list[float] = []

            def hear(metrics: dict[str, Any], kind: str = kind, losses: list[float] = losses) -> None:
                losses.append(metrics["loss"])
                said(metrics | {"kind": kind, "steps": steps})

            def open_data(documents: Documents = documents) -> TrainingData:
                return TrainingData(documents, VOCABULARY, {})

            folder = run(config, open_data, Start(preset="tiny", seed=seed), Path(scratch) / kind, hear)
            model = load(folder, "cpu")
            told = losses_of(model, held, kind)
            alone[kind] = _estimated(told, seed)
            epochs[kind] = steps * config.global_batch_size / _sequences(documents, config)
            last[kind] = float(np.mean(losses[-max(1, steps // 20) :]))
        for codebook, modality in (("linguistic", Modality.LINGUISTIC), ("semantic", Modality.SEMANTIC)):
            beside[codebook] = _estimated(told, seed, modality)
    comparison = Comparison(
        steps=steps,
        tokens_per_step=config.global_batch_size * config.sequence_length,
        parameters=model.shape.parameters,
        seconds={"learnt": round(_seconds(learnt), 2), "held": round(_seconds(held), 2)},
        sources={
            name: len({one.source for one in part}) for name, part in (("learnt", learnt), ("held", held))
        },
        epochs=epochs,
        learnt=last,
        unigram={kind: unigram(learnt, held, kind) for kind in KINDS[:2]},
        alone=alone,
        beside=beside,
    )
    return TrainedComparison(comparison, model, held)


def config_of(steps: int, seed: int, longest: int) -> TrainConfig:
    """The same for all three, so that each computes as much."""
    return TrainConfig(
        sequence_length=max(256, longest),
        global_batch_size=4,
        precision="float32",
        steps=steps,
        learning_rate=5e-3,
        final_learning_rate=5e-4,
        seed=seed,
        checkpoint_every=steps,
    )


def held_out(
    utterances: Sequence[CodedUtterance], seed: int
) -> tuple[list[CodedUtterance], list[CodedUtterance]]:
    """What is learnt and what is held out: whole sources, drawn by hash until they have their share."""
    seconds: dict[str, float] = defaultdict(float)
    for one in utterances:
        seconds[one.source] += one.seconds
    wanted, held = HELD * sum(seconds.values()), set()
    for source in sorted(seconds, key=lambda name: shuffle_key(f"{seed} {name}")):
        if wanted > 0:
            held.add(source)
            wanted -= seconds[source]
    sides: tuple[list[CodedUtterance], list[CodedUtterance]] = ([], [])
    for one in utterances:
        sides[one.source in held].append(one)
    return sides


def documents_of(sequences: Sequence[Ids]) -> Documents:
    """Sequences as the documents of a run, in memory; the first id of each is given, the rest learnt."""
    rows, content, at = [], [], 0
    for number, ids in enumerate(sequences):
        arrays = ids.astype(np.int32), (np.arange(len(ids)) > 0).astype(np.uint8)
        places = {"at_0": at, "at_1": at + arrays[0].nbytes, "at_2": 0}
        sizes = {"n_0": len(ids), "n_1": len(ids), "n_2": 0}
        rows.append(
            {"key": f"{number}", "family": "codes", "shard": 0, "length": len(ids), **places, **sizes}
        )
        content += [array.tobytes() for array in arrays]
        at += sum(array.nbytes for array in arrays)
    together = b"".join(content)
    return Documents(
        pa.Table.from_pylist(rows, schema=INDEX), lambda shard, start, size: together[start : start + size]
    )


@dataclass(frozen=True)
class UtteranceLosses:
    """Losses of an utterance's codes."""

    source: str
    seconds: float
    losses: dict[Modality, np.ndarray]


def losses_of(model: "Backbone", held: Iterable[CodedUtterance], kind: str) -> list[UtteranceLosses]:
    """Minus the log-probability of every code of some utterances, given those before it."""
    import torch

    from stages.train.batch import batch_of, modality_of

    found = []
    for one in held:
        ids = one.of(kind)
        document = Document("", "", ids, (np.arange(len(ids)) > 0).astype(np.uint8))
        batch = batch_of([[document]], len(ids), 0)
        with torch.no_grad():
            losses_n = model.losses(batch.tokens_BL, batch.documents_BL, batch.at_N, batch.targets_N).numpy()
        of_n = modality_of(batch.targets_N, VOCABULARY).numpy()
        codebooks = (Modality.LINGUISTIC, Modality.SEMANTIC)
        found.append(UtteranceLosses(one.source, one.seconds, {m: losses_n[of_n == m] for m in codebooks}))
    return found


def _estimated(told: Sequence[UtteranceLosses], seed: int, only: Modality | None = None) -> PredictionLoss:
    """Over all codes, or those of one codebook; sources are drawn again for the interval."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for one in told:
        losses = np.concatenate([of for modality, of in one.losses.items() if only in (None, modality)])
        for n, value in enumerate((float(losses.sum()), len(losses), one.seconds)):
            sums[one.source][n] += value
    nats, tokens, seconds = (list(column) for column in zip(*sums.values(), strict=True))
    per_token, per_second = ratio(nats, tokens, seed), ratio(nats, seconds, seed)
    assert per_token is not None
    assert per_second is not None
    return PredictionLoss(per_token, per_second)


def unigram(learnt: Sequence[CodedUtterance], held: Sequence[CodedUtterance], kind: str) -> float:
    """Nats per held-out code of who knows nothing but how often each comes, one more than counted."""
    size = LINGUISTIC_CODES if kind == "linguistic" else SEMANTIC_CODES
    counts = Counter(code for one in learnt for code in one.of(kind)[1:-1].tolist())
    total = counts.total() + size
    asked = [code for one in held for code in one.of(kind)[1:-1].tolist()]
    return -sum(math.log((counts[code] + 1) / total) for code in asked) / len(asked)


def _seconds(utterances: Iterable[CodedUtterance]) -> float:
    return sum(one.seconds for one in utterances)


def _sequences(documents: Documents, config: TrainConfig) -> float:
    return float(documents.lengths.sum()) / config.sequence_length
