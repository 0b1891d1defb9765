"""Is each codebook easier to predict together with the other? (Step-Audio-AQAA's case for two codebooks)

Three models with the same shape, initial weights, data, steps and tokens per step are trained to predict the
next token: of linguistic codes only, of semantic codes only, and of both merged 2:3. They are tested on
held-out utterances. The rates differ (16.67, 25 and 41.67 tokens per second), so results are in nats per
token and in nats per second.
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
"""Only the codes and a few specials: a small output layer trains faster."""

KINDS = ("linguistic", "semantic", "both")
HELD_OUT_SHARE = 0.2
"""Of the time."""
MIN_SECONDS = 60.0
"""Least speech for a comparison."""


@dataclass(frozen=True)
class CodedUtterance:
    """The codes of an utterance."""

    source: str
    """Utterances of one source are held out together."""
    tokens: Ids
    """[5 g] numbers N of `<audio_N>`."""
    language: str | None = None

    @property
    def seconds(self) -> float:
        return len(self.tokens) // CODES_PER_GROUP * GROUP_SECONDS

    def of(self, kind: str) -> Ids:
        """Ids [n] of one codebook or of both, between BOS and EOS."""
        groups = self.tokens.reshape(-1, CODES_PER_GROUP)
        part = {
            "linguistic": groups[:, :LINGUISTIC_PER_GROUP],
            "semantic": groups[:, LINGUISTIC_PER_GROUP:],
            "both": groups,
        }[kind]
        return np.concatenate([[BOS], part.ravel() + FIRST, [EOS]]).astype(np.int32)


@dataclass(frozen=True)
class PredictionLoss:
    """How well a model predicts the held-out codes of a codebook, alone or together with the other."""

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
    """Of speech: `learnt` for training, `held` out."""
    sources: Mapping[str, int]
    epochs: Mapping[str, float]
    """Kind -> epochs over the training data."""
    learnt: Mapping[str, float]
    """Kind -> training loss in nats per token over the last twentieth of the steps."""
    unigram: Mapping[str, float]
    """Codebook -> nats per token of a unigram model, counted on the training data."""
    alone: Mapping[str, PredictionLoss]
    """Kind -> loss of the model of that kind; for `both`, over all of its tokens."""
    beside: Mapping[str, PredictionLoss]
    """Codebook -> loss of the model of both on the codes of this codebook."""

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        for part in ("alone", "beside"):
            for kind, loss in getattr(self, part).items():
                values[part][kind]["perplexity"] = loss.perplexity
        return values


@dataclass(frozen=True)
class TrainedComparison:
    """A comparison with what is needed to sample from its model."""

    comparison: Comparison
    model: "Backbone"
    """Of both codebooks."""
    held: Sequence[CodedUtterance]


def compare(
    utterances: Sequence[CodedUtterance],
    steps: int,
    seed: int,
    on_step: ProgressCallback = lambda metrics: None,
) -> TrainedComparison:
    """Train the three models and test them. Raises SetupError if there is too little speech."""
    from stages.train.backbone import load

    training, held = held_out([one for one in utterances if len(one.tokens)], seed)
    total = _seconds(training) + _seconds(held)
    if not training or total < MIN_SECONDS:
        sources = len({one.source for one in utterances})
        raise SetupError(
            f"{total:.0f} s of speech from {sources} recordings is too little for --perplexity: it needs "
            f"{MIN_SECONDS:.0f} s from several recordings"
        )
    config = config_of(steps, seed, max(len(one.of("both")) for one in training))
    alone, beside = {}, {}
    epochs, last = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind in KINDS:
            documents = documents_of([one.of(kind) for one in training])
            losses: list[float] = []

            def record(metrics: dict[str, Any], kind: str = kind, losses: list[float] = losses) -> None:
                losses.append(metrics["loss"])
                on_step(metrics | {"kind": kind, "steps": steps})

            def open_data(documents: Documents = documents) -> TrainingData:
                return TrainingData(documents, VOCABULARY, {})

            folder = run(config, open_data, Start(preset="tiny", seed=seed), Path(scratch) / kind, record)
            model = load(folder, "cpu")
            losses_of_held = losses_of(model, held, kind)
            alone[kind] = _estimated(losses_of_held, seed)
            epochs[kind] = steps * config.global_batch_size / _sequences(documents, config)
            last[kind] = float(np.mean(losses[-max(1, steps // 20) :]))
        for codebook, modality in (("linguistic", Modality.LINGUISTIC), ("semantic", Modality.SEMANTIC)):
            beside[codebook] = _estimated(losses_of_held, seed, modality)
    comparison = Comparison(
        steps=steps,
        tokens_per_step=config.global_batch_size * config.sequence_length,
        parameters=model.shape.parameters,
        seconds={"learnt": round(_seconds(training), 2), "held": round(_seconds(held), 2)},
        sources={
            name: len({one.source for one in part}) for name, part in (("learnt", training), ("held", held))
        },
        epochs=epochs,
        learnt=last,
        unigram={kind: unigram(training, held, kind) for kind in KINDS[:2]},
        alone=alone,
        beside=beside,
    )
    return TrainedComparison(comparison, model, held)


def config_of(steps: int, seed: int, longest: int) -> TrainConfig:
    """The same for all three models, so that they get the same compute."""
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
    """Training and held-out utterances; whole sources are held out, drawn by hash."""
    seconds: dict[str, float] = defaultdict(float)
    for one in utterances:
        seconds[one.source] += one.seconds
    remaining, held = HELD_OUT_SHARE * sum(seconds.values()), set()
    for source in sorted(seconds, key=lambda name: shuffle_key(f"{seed} {name}")):
        if remaining > 0:
            held.add(source)
            remaining -= seconds[source]
    sides: tuple[list[CodedUtterance], list[CodedUtterance]] = ([], [])
    for one in utterances:
        sides[one.source in held].append(one)
    return sides


def documents_of(sequences: Sequence[Ids]) -> Documents:
    """Sequences as the documents of a training run, in memory; all ids but the first have a loss."""
    rows, content, offset = [], [], 0
    for number, ids in enumerate(sequences):
        arrays = ids.astype(np.int32), (np.arange(len(ids)) > 0).astype(np.uint8)
        offsets = {"at_0": offset, "at_1": offset + arrays[0].nbytes, "at_2": 0}
        sizes = {"n_0": len(ids), "n_1": len(ids), "n_2": 0}
        rows.append(
            {"key": f"{number}", "family": "codes", "shard": 0, "length": len(ids), **offsets, **sizes}
        )
        content += [array.tobytes() for array in arrays]
        offset += sum(array.nbytes for array in arrays)
    data = b"".join(content)
    return Documents(
        pa.Table.from_pylist(rows, schema=INDEX),
        lambda ranges: [data[start : start + size] for _, start, size in ranges],
    )


@dataclass(frozen=True)
class UtteranceLosses:
    """Losses of the codes of an utterance."""

    source: str
    seconds: float
    losses: dict[Modality, np.ndarray]


def losses_of(model: "Backbone", held: Iterable[CodedUtterance], kind: str) -> list[UtteranceLosses]:
    """The negative log-probability of every code of these utterances, given the codes before it."""
    import torch

    from stages.train.batch import batch_of, modality_of

    results = []
    for one in held:
        ids = one.of(kind)
        document = Document("", "", ids, (np.arange(len(ids)) > 0).astype(np.uint8))
        batch = batch_of([[document]], len(ids), 0)
        with torch.no_grad():
            losses_n = model.losses(batch.tokens_BL, batch.documents_BL, batch.at_N, batch.targets_N).numpy()
        of_n = modality_of(batch.targets_N, VOCABULARY).numpy()
        codebooks = (Modality.LINGUISTIC, Modality.SEMANTIC)
        results.append(UtteranceLosses(one.source, one.seconds, {m: losses_n[of_n == m] for m in codebooks}))
    return results


def _estimated(
    utterances: Sequence[UtteranceLosses], seed: int, only: Modality | None = None
) -> PredictionLoss:
    """Over all codes, or those of one codebook; the bootstrap resamples whole sources."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for one in utterances:
        losses = np.concatenate([of for modality, of in one.losses.items() if only in (None, modality)])
        for n, value in enumerate((float(losses.sum()), len(losses), one.seconds)):
            sums[one.source][n] += value
    nats, tokens, seconds = (list(column) for column in zip(*sums.values(), strict=True))
    per_token, per_second = ratio(nats, tokens, seed), ratio(nats, seconds, seed)
    assert per_token is not None
    assert per_second is not None
    return PredictionLoss(per_token, per_second)


def unigram(training: Sequence[CodedUtterance], held: Sequence[CodedUtterance], kind: str) -> float:
    """Nats per held-out code of a unigram model with add-one smoothing."""
    size = LINGUISTIC_CODES if kind == "linguistic" else SEMANTIC_CODES
    counts = Counter(code for one in training for code in one.of(kind)[1:-1].tolist())
    total = counts.total() + size
    codes = [code for one in held for code in one.of(kind)[1:-1].tolist()]
    return -sum(math.log((counts[code] + 1) / total) for code in codes) / len(codes)


def _seconds(utterances: Iterable[CodedUtterance]) -> float:
    return sum(one.seconds for one in utterances)


def _sequences(documents: Documents, config: TrainConfig) -> float:
    return float(documents.lengths.sum()) / config.sequence_length
