"""One training run: steps of SFT or DPO over a packed version, with metrics, checkpoints and exact resume.

A step is determined by the settings, the documents, the initial weights and the step's number. A stopped run
resumes from its last checkpoint and has the same losses: bit for bit on the same number of processes, and up
to rounding on any other number.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import SetupError
from stages.train import snapshot
from stages.train.batch import Batch, batch_of, modality_of
from stages.train.config import TrainConfig
from stages.train.documents import Documents
from stages.train.dpo import Sides, anchor_tokens, compare, side_sums
from stages.train.flops import peak, step_flops
from stages.train.folder import ANSWERS, BOARD, LEFT_OUT, METRICS, PACKING, written
from stages.train.loss import weighted_mean
from stages.train.metrics import Means, MetricsFile
from stages.train.model import Backbone
from stages.train.optimizer import adamw, clip_gradients, learning_rate, set_rate
from stages.train.packing import Packing, pack, sequences_of
from stages.train.parallel import World
from stages.train.progress import ProgressCallback
from stages.train.reference import ReferenceLogProbs, compute
from stages.train.validation import Validator


@dataclass(frozen=True)
class TrainingData:
    """The data of a run."""

    documents: Documents
    vocabulary: Mapping[str, Any]
    """The vocabulary section of the version's manifest."""
    identity: Mapping[str, Any]
    """Recorded by the run and compared when it resumes: dataset, version, code version, parent checkpoint."""


class Trainer:
    """A run in one of its processes. Raises SetupError if the data has nothing to learn from, or if the
    processes can't share a step evenly."""

    def __init__(
        self, config: TrainConfig, data: TrainingData, model: Backbone, folder: Path, world: World
    ) -> None:
        self.config = config
        self.data = data
        self.model = model
        self.folder = folder
        self.world = world
        self.device = world.device
        self._refuse_uneven_shares()
        self.entries = self._entries(equal_texts=not config.preference.mask_audio)
        world.first(self._pack)
        self.packing = Packing.load(folder / PACKING)
        self.steps = config.steps or math.ceil(
            config.epochs * self.packing.sequences / config.global_batch_size
        )
        self.families = sorted(pc.unique(data.documents.index["family"].take(self.entries)).to_pylist())
        self.optimizer = adamw(model, config)

    def finish(
        self, load: Callable[[], str], on_progress: ProgressCallback, validator: Validator | None = None
    ) -> None:
        """Take all remaining steps. `load` loads the initial weights into the model and returns their name; a
        run that resumes doesn't call it unless it needs their log-probabilities (DPO). What the validator
        measures is in the metrics of its steps, under `answers`."""
        first = snapshot.last_step(self.folder, self.world)
        if first == 0 or self.config.objective == "dpo":
            self._prepare_reference(load())
        if first:
            snapshot.read(self.folder, first, self.model, self.optimizer)
        with ExitStack() as stack:
            if self.world.is_first:
                board = self.folder / BOARD
                file = stack.enter_context(closing(MetricsFile(self.folder / METRICS, board, first)))
            for step, batches in enumerate(self._read_ahead(first), first):
                metrics = self._step(step, batches)
                if validator and validator.due(step + 1, self.steps):
                    metrics[ANSWERS] = validator(step + 1)
                if self.world.is_first:
                    file.write(metrics)
                if (step + 1) % self.config.checkpoint_every == 0 or step + 1 == self.steps:
                    snapshot.write(self.folder, step + 1, self.model, self.optimizer, self.world)
                if self.world.is_first:
                    on_progress(metrics)

    def _refuse_uneven_shares(self) -> None:
        size, config = self.world.data.size(), self.config
        if config.global_batch_size % size or config.global_batch_size // size % config.micro_batch:
            raise SetupError(
                f"{size} processes can't share global_batch_size {config.global_batch_size} evenly in "
                f"micro-batches of {config.micro_batch}: make it a multiple of {size * config.micro_batch}"
            )
        if config.sequence_length % config.tensor_parallel:
            raise SetupError(
                f"tensor_parallel {config.tensor_parallel} does not divide sequence_length "
                f"{config.sequence_length}"
            )

    def _entries(self, equal_texts: bool) -> NDArray:
        """Numbers of the documents that the run trains on."""
        pairs = self.config.objective == "dpo"
        return self.data.documents.chosen(pairs, self.config.families, equal_texts)

    def _pack(self) -> None:
        """Pack the documents, once, and record the keys of those that are left out."""
        file = self.folder / PACKING
        if file.exists():
            return
        documents = self.data.documents
        lengths = documents.lengths[self.entries]
        packing = pack(lengths, self.config.sequence_length, self.config.seed)
        if not packing.sequences:
            raise SetupError(
                f"nothing to learn from: {len(lengths):,} documents of the version match the run's objective "
                f"and families, and none of them fits into {self.config.sequence_length:,} tokens"
            )
        left_out = {
            "too_long": documents.keys(self.entries[packing.left_out]),
            "equal_texts": documents.keys(np.setdiff1d(self._entries(equal_texts=True), self.entries)),
        }
        written(self.folder / LEFT_OUT, lambda path: path.write_text(json.dumps(left_out, indent=1) + "\n"))
        written(file, packing.save)

    def _read_ahead(self, first: int) -> Iterator[list[Batch]]:
        """This process's micro-batches of each step, read while the previous step is computed."""
        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(self._micro_batches, self._sequences(first))]
            for step in range(first + 1, self.steps + 1):
                batches = ahead.pop().result()
                if step < self.steps:
                    ahead.append(reader.submit(self._micro_batches, self._sequences(step)))
                yield batches

    def _sequences(self, step: int) -> list[int]:
        return sequences_of(step, self.config.global_batch_size, self.packing.sequences, self.config.seed)

    def _micro_batches(self, numbers: list[int]) -> list[Batch]:
        return list(self._batches(self.world.shares(numbers)))

    def _batches(self, numbers: list[int]) -> Iterator[Batch]:
        for first in range(0, len(numbers), self.config.micro_batch):
            sequences = [
                [
                    document
                    for entry in self.packing.documents(number)
                    for document in self.data.documents.read(int(self.entries[entry]))
                ]
                for number in numbers[first : first + self.config.micro_batch]
            ]
            yield batch_of(sequences, self.config.sequence_length, self.data.vocabulary["specials"]["pad"])

    def _losses(self, batch: Batch) -> Tensor:
        """loss_N of a batch's targets."""
        return self.model.losses(batch.tokens_BL, batch.documents_BL, batch.at_N, batch.targets_N)

    def _step(self, step: int, batches: list[Batch]) -> dict[str, Any]:
        started = time.monotonic()
        rate = learning_rate(step, self.steps, self.config)
        set_rate(self.optimizer, rate)
        means = Means(self.families, self.device)
        batches = [batch.to(self.device) for batch in batches]
        backward = self._sft if self.config.objective == "sft" else self._dpo
        loss = self.world.sum(backward(batches, means)).item()
        norm = clip_gradients(self.model, self.config.max_grad_norm)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise SetupError(
                f"step {step}: the loss is {loss} and the gradient norm {norm}. Training stopped; the last "
                f"checkpoint is intact. Samples of the step: {', '.join(self._keys(step))}"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.world.sum(means.sums_2K)
        optimizer = {"learning_rate": rate, "gradient_norm": norm}
        speed = self._speed(step, means.targets, time.monotonic() - started)
        return {"step": step, "loss": loss, **means.by_name(), **optimizer, **speed}

    def _sft(self, batches: list[Batch], means: Means) -> Tensor:
        """This process's part of the loss, after its backward pass."""
        weights = self.config.modality_weights
        weight_M = torch.tensor([weights.text, weights.linguistic, weights.semantic], device=self.device)
        weights_of = [weight_M[self._modality(batch)] for batch in batches]
        total = self.world.sum(torch.stack([weight_N.double().sum() for weight_N in weights_of]).sum())
        total = total.where(total > 0, 1)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch, weight_N in zip(batches, weights_of, strict=True):
            losses_N = self._losses(batch)
            part = weighted_mean(losses_N, weight_N, total)
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
            means.add_tokens(losses_N.detach(), self._modality(batch), batch)
        return loss

    def _dpo(self, batches: list[Batch], means: Means) -> Tensor:
        config = self.config.preference
        counts = []
        for batch in batches:
            counted = self._sides(batch, torch.zeros(len(batch.at_N), device=self.device))
            counts.append((len(batch.pair_keys), anchor_tokens(counted, config)))
        totals = self.world.sum(torch.tensor(counts, dtype=torch.float64, device=self.device).sum(0))
        pairs, anchored = totals.clamp(min=1).tolist()
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch in batches:
            losses_N = self._losses(batch)
            reference_P2M = self.reference.of(batch.pair_keys).to(self.device)
            compared = compare(self._sides(batch, losses_N), reference_P2M, config, pairs, anchored)
            compared.loss.backward()  # type: ignore[no-untyped-call]
            loss += compared.loss.detach()
            means.add_tokens(losses_N.detach(), self._modality(batch), batch)
            means.add_pairs(compared)
        return loss

    def _modality(self, batch: Batch) -> Tensor:
        return modality_of(batch.targets_N, self.data.vocabulary)

    def _sides(self, batch: Batch, losses_N: Tensor) -> Sides:
        return side_sums(losses_N, batch.document_N, self._modality(batch), len(batch.pair_keys))

    def _prepare_reference(self, start: str) -> None:
        """Compute the log-probabilities of pairs under the initial weights, which are named `start`, once."""
        if self.config.objective != "dpo":
            return
        file = self.folder / f"reference-{start}-{self.config.precision}.parquet"
        if not self.world.first(file.exists):
            # All processes compute equally often, or those that gather weights would wait forever.
            per_round = self.world.data.size() * self.config.micro_batch
            total = per_round * math.ceil(self.packing.sequences / per_round)
            numbers = self.world.shares([n % self.packing.sequences for n in range(total)])
            batches = (batch.to(self.device) for batch in self._batches(numbers))
            compute(file, batches, lambda batch: self._sides(batch, self._losses(batch)), self.world)
        self.reference = ReferenceLogProbs(file)

    def _documents(self, step: int) -> NDArray:
        """Numbers of the documents of a step, over all processes."""
        packed = np.concatenate([self.packing.documents(number) for number in self._sequences(step)])
        return cast(NDArray, self.entries[packed])

    def _keys(self, step: int) -> list[str]:
        return sorted(set(self.data.documents.keys(self._documents(step))))

    def _speed(self, step: int, targets: float, seconds: float) -> dict[str, Any]:
        """Tokens of a step's documents, and throughput over all devices."""
        lengths = self.data.documents.side_lengths(self._documents(step))
        speed = {"tokens": int(lengths.sum()), "tokens_per_second": round(float(lengths.sum()) / seconds, 1)}
        peak_flops = peak(self.device)
        if peak_flops is None:
            return speed
        squares = float((lengths.astype(float) ** 2).sum())
        needed = step_flops(self.model.shape, float(lengths.sum()), squares, targets)
        devices = self.world.mesh.size()
        return {**speed, "mfu": round(needed / (seconds * devices * peak_flops), 4)}
