"""One training run: steps of SFT or DPO over a packed version, with metrics, checkpoints and exact resume.

A step is determined by the settings, the documents, the initial weights and the step's number. A stopped run
resumes from its last checkpoint and has the same losses: bit for bit on the same number of processes, and up
to rounding on any other number.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import SetupError
from stages.precision import computed_in
from stages.train import snapshot
from stages.train.batch import Batch, modality_of
from stages.train.config import TrainConfig
from stages.train.documents import Documents
from stages.train.dpo import Sides, anchor_tokens, compare, side_sums
from stages.train.flops import peak, step_flops
from stages.train.folder import ANSWERS, BOARD, LEFT_OUT, METRICS, PACKING, VALIDATION, written
from stages.train.heard_noise import with_noise
from stages.train.loss import weighted_mean
from stages.train.metrics import Means, MetricsFile
from stages.train.model import Backbone
from stages.train.optimizer import adamw, clip_gradients, learning_rate, set_rate
from stages.train.packed import PackedDocuments
from stages.train.packing import Packing, pack, sequences_of
from stages.train.parallel import World
from stages.train.progress import ProgressCallback
from stages.train.read_ahead import read_ahead
from stages.train.reference import ReferenceLogProbs, compute
from stages.train.remote import Remote
from stages.train.snapshot import FolderSnapshots, RemoteSnapshots
from stages.train.validation import Validator
from stages.train.validation_loss import held_out


@dataclass(frozen=True)
class TrainingData:
    """The data of a run."""

    documents: Documents
    vocabulary: Mapping[str, Any]
    """The vocabulary section of the version's manifest."""
    identity: Mapping[str, Any]
    """Recorded by the run and compared when it resumes: dataset, version, code version, parent checkpoint."""
    validation: Documents | None = None
    """Documents of the version that nothing is trained on."""


class Trainer:
    """A run in one of its processes. Raises SetupError if the data has nothing to learn from, or if the
    processes can't share a step evenly."""

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        model: Backbone,
        folder: Path,
        world: World,
        remote: Remote | None = None,
    ) -> None:
        self.config = config
        self.data = data
        self.model = model
        self.folder = folder
        self.world = world
        self.remote = remote
        self.snapshots = RemoteSnapshots(remote) if remote else FolderSnapshots(folder)
        self.device = world.device
        self._refuse_uneven_shares()
        self.entries = self._entries(equal_texts=not config.preference.mask_audio)
        world.first(self._pack)
        self.packing = Packing.load(self._on_all_nodes(folder / PACKING))
        pad = data.vocabulary["specials"]["pad"]
        self.packed = PackedDocuments(data.documents, self.entries, self.packing, config.sequence_length, pad)
        self.held_out = held_out(data.validation, config, data.vocabulary) if config.validation else None
        self.steps = config.steps or math.ceil(
            config.epochs * self.packing.sequences / config.global_batch_size
        )
        self.families = sorted(pc.unique(data.documents.index["family"].take(self.entries)).to_pylist())
        self.reference: ReferenceLogProbs | None = None
        self.held_out_reference: ReferenceLogProbs | None = None
        self.optimizer = adamw(model, config)

    def finish(
        self, load: Callable[[], str], on_progress: ProgressCallback, validator: Validator | None = None
    ) -> None:
        """Take all remaining steps. `load` loads the initial weights into the model and returns their name; a
        run that resumes doesn't call it unless it needs them (LoRA), or their log-probabilities (DPO). What
        the validator measures is in the metrics of its steps, under `answers`."""
        first = snapshot.last_step(self.snapshots, self.world)
        if first == 0 or self.config.objective == "dpo" or self.config.lora:
            self._prepare_reference(load())
        if first:
            snapshot.read(self.snapshots, first, self.model, self.optimizer)
        with ExitStack() as stack:
            if self.world.is_first:
                board = self.folder / BOARD
                file = stack.enter_context(closing(MetricsFile(self.folder / METRICS, board, first)))
            # This process's micro-batches of each step.
            for step, batches in enumerate(read_ahead(self._micro_batches, range(first, self.steps)), first):
                metrics = self._step(step, batches)
                if self._is_validated(step + 1):
                    metrics[VALIDATION] = self._validation()
                if validator and validator.due(step + 1, self.steps):
                    metrics[ANSWERS] = validator(step + 1)
                if self.world.is_first:
                    file.write(metrics)
                if (step + 1) % self.config.checkpoint_every == 0 or step + 1 == self.steps:
                    snapshot.write(self.snapshots, step + 1, self.model, self.optimizer, self.world)
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

    def _sequences(self, step: int) -> list[int]:
        return sequences_of(step, self.config.global_batch_size, self.packing.sequences, self.config.seed)

    def _micro_batches(self, step: int) -> list[Batch]:
        numbers, size = self.world.shares(self._sequences(step)), self.config.micro_batch
        batches = list(self.packed.batches(numbers, size))
        share = self.config.heard_noise
        if not share or self.config.objective == "dpo":
            return batches
        seeds = [[self.config.seed, 2, step, number] for number in numbers]
        return [
            with_noise(batch, share, seeds[n * size : (n + 1) * size], self.data.vocabulary)
            for n, batch in enumerate(batches)
        ]

    def _losses(self, batch: Batch) -> Tensor:
        """loss_N of a batch's targets."""
        return self.model.losses(batch.tokens_BL, batch.documents_BL, batch.at_N, batch.targets_N)

    def _step(self, step: int, batches: list[Batch]) -> dict[str, Any]:
        started = time.monotonic()
        rate = learning_rate(step, self.steps, self.config)
        set_rate(self.optimizer, rate)
        means = Means(self.families, self.device)
        batches = [batch.to(self.device) for batch in batches]
        loss, _ = self._loss(batches, means, self.reference)
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

    def _is_validated(self, done: int) -> bool:
        validation = self.config.validation
        return validation is not None and (done % validation.every == 0 or done == self.steps)

    @torch.no_grad()
    def _validation(self) -> dict[str, Any]:
        """The loss on the validation side, with its parts: the mean over all its targets, or pairs."""
        assert self.held_out is not None
        means = Means(self.held_out.families, self.device)
        total = weights = 0.0
        for numbers in self._held_out_numbers():
            batches = self.held_out.packed.batches(self.world.shares(numbers), self.config.micro_batch)
            moved = [batch.to(self.device) for batch in batches]
            loss, weight = self._loss(moved, means, self.held_out_reference)
            total, weights = total + loss * weight, weights + weight
        self.world.sum(means.sums_2K)
        return {"loss": total / (weights or 1), **means.by_name()}

    def _held_out_numbers(self) -> Iterator[list[int | None]]:
        assert self.held_out is not None
        per_round = self.world.data.size() * self.config.micro_batch
        return self.held_out.batches(self.config.global_batch_size, per_round)

    def _loss(
        self, batches: list[Batch], means: Means, reference: ReferenceLogProbs | None
    ) -> tuple[float, float]:
        """The loss of all processes' batches, and what it is the mean over: the weights of targets, or pairs.
        Where gradients are wanted, they are there afterwards."""
        if reference is None:
            loss, weight = self._sft(batches, means)
        else:
            loss, weight = self._dpo(batches, means, reference)
        return self.world.sum(loss).item(), weight.item()

    def _sft(self, batches: list[Batch], means: Means) -> tuple[Tensor, Tensor]:
        """This process's part of the loss, after its backward pass, and the sum of all weights."""
        weights = self.config.modality_weights
        weight_M = torch.tensor([weights.text, weights.linguistic, weights.semantic], device=self.device)
        weights_of = [weight_M[self._modality(batch)] for batch in batches]
        weight = self.world.sum(torch.stack([weight_N.double().sum() for weight_N in weights_of]).sum())
        total = weight.where(weight > 0, 1)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch, weight_N in zip(batches, weights_of, strict=True):
            losses_N = self._losses(batch)
            part = weighted_mean(losses_N, weight_N, total)
            _backward(part)
            loss += part.detach()
            means.add_tokens(losses_N.detach(), self._modality(batch), batch)
        return loss, weight

    def _dpo(self, batches: list[Batch], means: Means, reference: ReferenceLogProbs) -> tuple[Tensor, Tensor]:
        """This process's part of the loss, after its backward pass, and the number of all pairs."""
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
            reference_P2M = reference.of(batch.pair_keys).to(self.device)
            compared = compare(self._sides(batch, losses_N), reference_P2M, config, pairs, anchored)
            _backward(compared.loss)
            loss += compared.loss.detach()
            means.add_tokens(losses_N.detach(), self._modality(batch), batch)
            means.add_pairs(compared)
        return loss, totals[0]

    def _modality(self, batch: Batch) -> Tensor:
        return modality_of(batch.targets_N, self.data.vocabulary)

    def _sides(self, batch: Batch, losses_N: Tensor) -> Sides:
        return side_sums(losses_N, batch.document_N, self._modality(batch), len(batch.pair_keys))

    def _prepare_reference(self, start: str) -> None:
        """Compute the log-probabilities of pairs under the initial weights, which are named `start`, once."""
        if self.config.objective != "dpo":
            return
        needed = sorted({number for step in range(self.steps) for number in self._sequences(step)})
        # All processes compute equally often, or those that gather weights would wait forever.
        per_round = self.world.data.size() * self.config.micro_batch
        total = per_round * math.ceil(len(needed) / per_round)
        trained_on = [needed[n % len(needed)] for n in range(total)]
        self.reference = self._log_probabilities(start, self.packed, trained_on)
        if self.held_out:
            numbers = [number for batch in self._held_out_numbers() for number in batch]
            name = f"{VALIDATION}-{self.held_out.sequences}-{start}"
            self.held_out_reference = self._log_probabilities(name, self.held_out.packed, numbers)

    def _log_probabilities(
        self, name: str, packed: PackedDocuments, numbers: Sequence[int | None]
    ) -> ReferenceLogProbs:
        precision = computed_in(self.config.precision, self.device.type)
        file = self.folder / f"reference-{name}-{precision}.parquet"
        if not self.world.first(file.exists):
            read = packed.batches(self.world.shares(numbers), self.config.micro_batch)
            batches = (batch.to(self.device) for batch in read)
            compute(file, batches, lambda batch: self._sides(batch, self._losses(batch)), self.world)
        return ReferenceLogProbs(self._on_all_nodes(file))

    def _on_all_nodes(self, file: Path) -> Path:
        """A file of the run's folder that the first process has written."""
        if self.remote:
            self.world.first(self.remote.push)
            if not self.world.is_first:
                self.remote.pull(file.name)
        return file

    def _documents(self, step: int) -> NDArray:
        """Numbers of the documents of a step, over all processes."""
        return self.packed.entries_of(self._sequences(step))

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
        frozen = self.config.lora is not None
        needed = step_flops(self.model.shape, float(lengths.sum()), squares, targets, frozen)
        devices = self.world.mesh.size()
        return {**speed, "mfu": round(needed / (seconds * devices * peak_flops), 4)}


def _backward(part: Tensor) -> None:
    if torch.is_grad_enabled():
        part.backward()  # type: ignore[no-untyped-call]
