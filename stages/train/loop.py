"""One training run: steps of SFT or DPO over a packed version, with metrics, checkpoints and exact resume.

Everything that a step does follows from the settings, the documents, the starting weights and the step's
number; a run that was stopped goes on from its last checkpoint and gives the same losses, bit for bit.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.errors import SetupError
from stages.train.batch import Batch, batch_of, modality_of
from stages.train.checkpoint import load, save
from stages.train.config import TrainConfig
from stages.train.documents import Documents
from stages.train.dpo import Sides, anchor_tokens, compare, side_sums
from stages.train.loss import token_losses, weighted_mean
from stages.train.metrics import Means, MetricsFile
from stages.train.model import Step1
from stages.train.optimizer import adamw, learning_rate
from stages.train.packing import Packing, pack, sequences_of

RUN = "run.json"
"""What the run is: its settings and the data's identity."""
METRICS = "metrics.jsonl"
PACKING = "packing.npz"
LEFT_OUT = "left_out.json"
"""Keys of documents longer than a sequence, and of pairs whose texts are equal where audio is masked."""
REFERENCE = "reference.pt"
"""Sums of log-probabilities of both sides of every pair under the starting weights."""
CHECKPOINTS = "checkpoints"
MODEL = "model"
"""The finished model."""

Said = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Data:
    """What a run learns from."""

    documents: Documents
    vocabulary: Mapping[str, Any]
    """What the version's manifest says of its ids."""
    identity: Mapping[str, Any]
    """What the run records and a resume must agree on: dataset, version, code version, parent checkpoint."""


def train(
    config: TrainConfig,
    data: Data,
    start: Step1,
    folder: Path,
    device: torch.device | str = "cpu",
    said: Said = lambda metrics: None,
) -> Path:
    """Train `start` in place; returns the folder of the finished model, in the run's own.

    A finished run is left as it is, a stopped one goes on. `said` hears each step's metrics, which
    metrics.jsonl gets too. Raises SetupError where the folder holds another run, where nothing can be learnt
    from the data, or where the loss is no number.
    """
    finished = folder / MODEL
    _claim(folder, {"config": config.model_dump(mode="json", exclude={"checkpoint_every"}), **data.identity})
    if not finished.exists():
        run = _Run(config, data, start.to(device), folder, torch.device(device))
        run.finish(said)
        partial = _emptied(folder / f".{MODEL}.partial")
        save(run.model, partial, dict(data.vocabulary))
        partial.rename(finished)
    return finished


class _Run:
    def __init__(
        self, config: TrainConfig, data: Data, model: Step1, folder: Path, device: torch.device
    ) -> None:
        if model.shape.vocabulary < data.vocabulary["size"]:
            raise SetupError(
                f"the version has {data.vocabulary['size']:,} ids and the model only "
                f"{model.shape.vocabulary:,}: start from a model of the version's vocabulary"
            )
        self.config = config
        self.data = data
        self.model = model
        self.folder = folder
        self.device = device
        self.entries = self._entries(equal_texts=not config.dpo.mask_audio)
        self.packing = self._packing()
        self.steps = config.steps or math.ceil(config.epochs * self.packing.sequences / config.batch)
        self.reference = self._reference() if config.objective == "dpo" else {}
        self.optimizer = adamw(model, config)

    def finish(self, said: Said) -> None:
        first = self._resume()
        with closing(MetricsFile(self.folder / METRICS, first)) as file:
            for step in range(first, self.steps):
                metrics = self._step(step)
                file.write(metrics)
                if (step + 1) % self.config.checkpoint_every == 0 or step + 1 == self.steps:
                    self._checkpoint(step + 1)
                said(metrics)

    def _entries(self, equal_texts: bool) -> NDArray:
        """Numbers of the documents that the run learns from."""
        pairs = self.config.objective == "dpo"
        return self.data.documents.chosen(pairs, self.config.families, equal_texts)

    def _packing(self) -> Packing:
        """Made once and kept, with the names of those that are left out."""
        file = self.folder / PACKING
        if not file.exists():
            lengths = self.data.documents.lengths[self.entries]
            packing = pack(lengths, self.config.sequence_length, self.config.seed)
            if not packing.sequences:
                raise SetupError(
                    f"nothing to learn from: {len(lengths):,} documents of the version are what the run asks "
                    f"for (objective, families), and none fits into {self.config.sequence_length:,} tokens"
                )
            documents = self.data.documents
            left_out = {
                "too_long": documents.keys(self.entries[packing.left_out]),
                "equal_texts": documents.keys(np.setdiff1d(self._entries(equal_texts=True), self.entries)),
            }
            _written(
                self.folder / LEFT_OUT, lambda path: path.write_text(json.dumps(left_out, indent=1) + "\n")
            )
            _written(file, packing.save)
        return Packing.load(file)

    def _batches(self, numbers: list[int]) -> Iterator[Batch]:
        """The micro-batches of some sequences."""
        for first in range(0, len(numbers), self.config.micro_batch):
            sequences = [
                [
                    document
                    for entry in self.packing.documents(number)
                    for document in self.data.documents.read(int(self.entries[entry]))
                ]
                for number in numbers[first : first + self.config.micro_batch]
            ]
            pad = self.data.vocabulary["specials"]["pad"]
            yield batch_of(sequences, self.config.sequence_length, pad).to(self.device)

    def _losses(self, batch: Batch) -> Tensor:
        """loss_N of a batch's targets."""
        x_BLD = self.model.model(batch.tokens_BL, batch.documents_BL)
        return token_losses(x_BLD[batch.is_target_BL], self.model.lm_head.weight, batch.targets_N)

    def _step(self, step: int) -> dict[str, Any]:
        began = time.monotonic()
        rate = learning_rate(step, self.steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        numbers = sequences_of(step, self.config.batch, self.packing.sequences, self.config.seed)
        batches = list(self._batches(numbers))
        found = self._sft(batches) if self.config.objective == "sft" else self._dpo(batches)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip).item()
        if not math.isfinite(found["loss"]) or not math.isfinite(norm):
            keys = sorted({document.key for batch in batches for document in batch.documents})
            raise SetupError(
                f"step {step}: the loss is {found['loss']} and the gradient's norm {norm}. Stopped; the last "
                f"checkpoint is good. Samples of the step: {', '.join(keys)}"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        tokens = sum(int((batch.documents_BL >= 0).sum()) for batch in batches)
        speed = tokens / (time.monotonic() - began)
        described = {"learning_rate": rate, "gradient_norm": norm, "tokens": tokens}
        return {"step": step, **found, **described, "tokens_per_second": round(speed, 1)}

    def _sft(self, batches: list[Batch]) -> dict[str, Any]:
        weights = self.config.modality_weights
        weight_M = torch.tensor([weights.text, weights.linguistic, weights.semantic], device=self.device)
        total = sum(weight_M[self._modality(batch)].sum().item() for batch in batches)
        loss, means = 0.0, Means()
        for batch in batches:
            losses_N, modality_N = self._losses(batch), self._modality(batch)
            part = weighted_mean(losses_N, weight_M[modality_N], total or 1.0)
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.item()
            means.add_tokens(losses_N.detach(), modality_N, batch)
        return {"loss": loss, **means.by_name()}

    def _dpo(self, batches: list[Batch]) -> dict[str, Any]:
        config = self.config.dpo
        pairs = sum(len(batch.documents) for batch in batches) // 2
        anchored = sum(
            anchor_tokens(self._sides(batch, torch.zeros(batch.targets_N.shape, device=self.device)), config)
            for batch in batches
        )
        loss, means = 0.0, Means()
        for batch in batches:
            losses_N = self._losses(batch)
            reference = torch.stack([self.reference[key] for key in batch.pair_keys]).to(self.device)
            compared = compare(self._sides(batch, losses_N), reference, config, pairs, anchored or 1.0)
            compared.loss.backward()  # type: ignore[no-untyped-call]
            loss += compared.loss.item()
            means.add_tokens(losses_N.detach(), self._modality(batch), batch)
            means.add_pairs(compared)
        return {"loss": loss, "pairs": pairs, **means.by_name()}

    def _modality(self, batch: Batch) -> Tensor:
        return modality_of(batch.targets_N, self.data.vocabulary)

    def _sides(self, batch: Batch, losses_N: Tensor) -> Sides:
        return side_sums(losses_N, batch.document_N, self._modality(batch), len(batch.documents) // 2)

    @torch.no_grad()
    def _reference(self) -> dict[str, Tensor]:
        """logps_2M of every pair, computed with the starting weights before the first step, and kept."""
        file = self.folder / REFERENCE
        if not file.exists():
            found: dict[str, Tensor] = {}
            for batch in self._batches(list(range(self.packing.sequences))):
                sides = self._sides(batch, self._losses(batch))
                found |= dict(zip(batch.pair_keys, sides.logps_P2M.cpu().unbind(), strict=True))
            _written(file, lambda path: torch.save(found, path))
        kept: dict[str, Tensor] = torch.load(file, weights_only=True)
        return kept

    def _checkpoint(self, step: int) -> None:
        """There wholly or not at all; the one before goes when it is."""
        partial = _emptied(self.folder / CHECKPOINTS / ".partial")
        save(self.model, partial, dict(self.data.vocabulary))
        torch.save(self.optimizer.state_dict(), partial / "optimizer.pt")
        for file in partial.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        partial.rename(self.folder / CHECKPOINTS / f"{step:08}")
        for older in _checkpoints(self.folder)[:-1]:
            shutil.rmtree(older)

    def _resume(self) -> int:
        """Take over the last checkpoint; the step to go on with."""
        found = _checkpoints(self.folder)
        if not found:
            return 0
        self.model.load_state_dict(load(found[-1], self.device).state_dict())
        state = torch.load(found[-1] / "optimizer.pt", map_location=self.device, weights_only=True)
        self.optimizer.load_state_dict(state)
        return int(found[-1].name)


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    """Write down what a folder's run is. Raises SetupError where it holds another."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RUN
    if not file.exists():
        _written(file, lambda path: path.write_text(json.dumps(identity, indent=2) + "\n"))
    there = json.loads(file.read_text())
    wanted = json.loads(json.dumps(identity))
    for key, value in _flat(wanted).items():
        if _flat(there).get(key) != value:
            raise SetupError(
                f"{folder} holds another run: its {key} is {_flat(there).get(key)}, not {value}. "
                "Name another folder for this one."
            )


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}{key}.") if isinstance(inner, dict) else {f"{prefix}{key}": inner}
    return found


def _checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / CHECKPOINTS).glob("[0-9]*"))


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _written(file: Path, write: Callable[[Path], Any]) -> None:
    """A file that is there wholly or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    write(partial)
    partial.rename(file)
