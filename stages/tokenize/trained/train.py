"""Trains codes that keep the words.

The lower layers of a Whisper model are frozen. Its next layers are trained through the two grids of codes, so
that the model's frozen decoder reads from codes alone what it would have read from the sound: its
distributions over the next token (Hinton et al., 2015) and the text itself, and the encoder's last states.
The input is disturbed, the target is not, so that codes resist noise.
"""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.precision import computed_in
from stages.tokenize.trained.batch import Batches, SpeechBatch
from stages.tokenize.trained.checkpoint import TrainedCodes
from stages.tokenize.trained.fsq import FSQ
from stages.tokenize.trained.layers import (
    LowerEncoder,
    TextDecoder,
    Weights,
    depth,
    encoder_layers,
    load_norm,
)
from stages.tokenize.trained.mel import WhisperMel
from stages.tokenize.trained.quantizer import CodesShape, Quantizer, StateReader
from stages.tokenize.trained.speech import TrainingSpeech

Progress = Callable[[str], None]

CHECKPOINT = "checkpoint.pt"
OWN_RATE = 0.4
"""Learning rate of layers that begin as Whisper's, relative to that of new ones."""
HIDDEN_SHARE = 0.15
"""Share of utterances whose linguistic codes are hidden from the reader; as many lose the semantic ones."""
READER_SILENCE = 60
"""States of silence, at most, that the reader sees behind an utterance."""
EVERY = 25
"""Steps between two lines of progress."""


@dataclass(frozen=True)
class CodesTrainConfig:
    """How to train codes."""

    shape: CodesShape | None = None
    """None: that for the Whisper model."""
    steps: int = 6000
    batch_seconds: float = 40.0
    learning_rate: float = 5e-4
    warmup: int = 200
    """Steps until the full rate."""
    decay: float = 1 / 3
    """Share of the steps, the last ones, in which the rate falls to nothing."""
    states_only: int = 200
    """First steps, which learn the encoder's states and not yet what the decoder reads."""
    rounded_from: int = 300
    """Steps until all codes are rounded."""
    words_weight: float = 1.0
    states_weight: float = 0.3
    steadiness_weight: float = 1.0
    checkpoint_steps: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Losses:
    """Losses of a step."""

    words: Tensor
    """Mean of the divergence from the decoder's own distributions and of the text's cross-entropy."""
    states: Tensor
    """Squared error relative to the variance of the encoder's states."""
    steadiness: Tensor
    """See `unsteadiness`, of both grids."""
    read: float
    """Share of the text's tokens that the decoder finds from codes."""


class CodesTrainer:
    """Trains quantizer and reader. Checkpoints go to `folder`; a trainer in the same folder goes on."""

    def __init__(
        self, weights: Weights, speech: TrainingSpeech, config: CodesTrainConfig, folder: Path
    ) -> None:
        torch.manual_seed(config.seed)
        shape = config.shape or CodesShape.of_model(weights)
        self.config = replace(config, shape=shape)
        self._shape = shape
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._precision = computed_in("auto", self.device.type)
        layers = depth(weights, "encoder")
        lower = LowerEncoder(weights, shape.lower_layers)
        self._batches = Batches(speech, WhisperMel(lower.bands), config.batch_seconds, config.seed)
        self._lower = self._frozen(lower)
        upper_norm = nn.LayerNorm(shape.width)
        load_norm(upper_norm, weights, "encoder")
        upper = nn.Sequential(*encoder_layers(weights, shape.lower_layers, layers), upper_norm)
        self._upper = self._frozen(upper)
        self._decoder = self._frozen(TextDecoder(weights))
        self._positions = weights["encoder/position_encodings/encodings"].to(self.device)
        self.quantizer = Quantizer(shape).to(self.device)
        self.reader = StateReader(shape).to(self.device)
        own, end = shape.lower_layers, layers
        self.quantizer.layers = encoder_layers(weights, own, own + shape.own_layers).to(self.device)
        self.reader.layers = encoder_layers(weights, end - shape.reader_layers, end).to(self.device)
        load_norm(self.reader.norm, weights, "encoder")
        self._optimizer = self._adamw()
        self._file = folder / CHECKPOINT
        self.step = self._resume()

    def _frozen(self, module: nn.Module) -> Any:
        return module.eval().requires_grad_(False).to(self.device, getattr(torch, self._precision))

    def _adamw(self) -> torch.optim.AdamW:
        layers = [self.quantizer.layers, self.reader.layers, self.reader.norm]
        own = [p for part in layers for p in part.parameters()]
        known = set(map(id, own))
        new = [p for part in (self.quantizer, self.reader) for p in part.parameters() if id(p) not in known]
        groups = [{"params": new, "scale": 1.0}, {"params": own, "scale": OWN_RATE}]
        return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)

    def train(self, progress: Progress = lambda _: None) -> None:
        """All steps that are left."""
        recent: list[Losses] = []
        for batch in self._batches.after(self.step):
            if self.step >= self.config.steps:
                break
            recent.append(self._train_step(batch))
            self.step += 1
            if self.step % EVERY == 0:
                progress(f"step {self.step} of {self.config.steps}: {_summary(recent)}")
                recent = []
            if self.step % self.config.checkpoint_steps == 0 or self.step == self.config.steps:
                self._save()

    def codes(self, model_sha256: str) -> TrainedCodes:
        """The networks as they are now, the quantizer in half precision as it is saved."""
        parts = [copy.deepcopy(self.quantizer).cpu().half().float(), copy.deepcopy(self.reader).cpu()]
        for part in parts:
            part.eval().requires_grad_(False)
        quantizer, reader = parts
        assert isinstance(quantizer, Quantizer)
        assert isinstance(reader, StateReader)
        return TrainedCodes(self._shape, model_sha256, quantizer, reader)

    def _train_step(self, batch: SpeechBatch) -> Losses:
        rate = self.config.learning_rate * rate_at(self.step, self.config)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        losses = self.losses(batch, torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step))
        config = self.config
        loss = config.states_weight * losses.states + config.steadiness_weight * losses.steadiness
        if self.step >= config.states_only:
            loss = loss + config.words_weight * losses.words
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*self.quantizer.parameters(), *self.reader.parameters()], 1.0)
        self._optimizer.step()
        return losses

    def losses(self, batch: SpeechBatch, generator: torch.Generator) -> Losses:
        """Losses of a batch at the present step."""
        device, count = self.device, len(batch.states_B)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            disturbed_BTD = self._lower(batch.disturbed_BMF.to(device))
            length = disturbed_BTD.shape[1]
            clean_BTD = self._lower(batch.clean_BMF.to(device))
            changed = [x.float() for x in self.quantizer(disturbed_BTD)]
            clean = [x.float() for x in self.quantizer(clean_BTD)]
            grids = self.quantizer.linguistic.grid, self.quantizer.semantic.grid
            steadiness = sum(map(unsteadiness, grids, changed, clean), torch.zeros((), device=device))
            (linguistic, linguistic_before), (content, content_before) = (
                grid(vectors) for grid, vectors in zip(grids, changed, strict=True)
            )
            smooth = torch.rand(count, 1, 1, generator=generator) >= self.step / self.config.rounded_from
            smooth = smooth.to(device)
            drawn_B = torch.rand(count, generator=generator)
            hidden = drawn_B < HIDDEN_SHARE, (drawn_B >= HIDDEN_SHARE) & (drawn_B < 2 * HIDDEN_SHARE)
            vectors = self.reader.vectors(
                torch.where(smooth, linguistic_before, linguistic),
                torch.where(smooth, content_before, content),
                batch.pitch_BS.to(device),
                batch.energy_BS.to(device),
                length,
                ~torch.stack(hidden, 1).to(device),
            )
            silence_B = torch.randint(READER_SILENCE, (count,), generator=generator)
            states_BTD = self.reader(vectors, self._positions, self._seen(batch.states_B + silence_B, length))
            with torch.no_grad():
                target_BTD = self._upper(clean_BTD)
            words, read = torch.zeros((), device=device), 0.0
            if self.step >= self.config.states_only:
                words, read = self._words(batch, states_BTD, target_BTD, silence_B)
        own_BT = torch.arange(length) < batch.states_B[:, None]
        own_BT = own_BT.to(device)
        target = target_BTD.float()[own_BT]
        states = (states_BTD.float()[own_BT] - target).square().mean() / target.var()
        return Losses(words, states, steadiness, read)

    def _words(
        self, batch: SpeechBatch, states_BTD: Tensor, target_BTD: Tensor, silence_B: Tensor
    ) -> tuple[Tensor, float]:
        """How far the decoder's reading of codes is from that of the sound and from the text."""
        tokens_BN = batch.tokens_BN.to(self.device)
        said_BN = batch.said_BN[:, 1:].to(self.device)
        length = states_BTD.shape[1]
        seen = self._seen(batch.states_B + silence_B, length)
        own = self._decoder(tokens_BN[:, :-1], states_BTD, seen)[said_BN]
        with torch.no_grad():
            heard = self._decoder(tokens_BN[:, :-1], target_BTD, seen)[said_BN]
            expected = self._decoder.logits(heard).float().log_softmax(-1)
        found = self._decoder.logits(own).float().log_softmax(-1)
        text = tokens_BN[:, 1:][said_BN]
        divergence = (expected.exp() * (expected - found)).sum(-1).mean()
        words = (divergence + F.nll_loss(found, text)) / 2
        return words, float((found.argmax(-1) == text).float().mean())

    def _seen(self, states_B: Tensor, length: int) -> Tensor:
        """Mask [B, 1, 1, T] that is False behind the given numbers of states."""
        return (torch.arange(length) < states_B[:, None])[:, None, None].to(self.device)

    def _save(self) -> None:
        """Replace the checkpoint, completely or not at all."""
        partial = self._file.with_suffix(".partial")
        state = {
            "quantizer": self.quantizer.state_dict(),
            "reader": self.reader.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
        }
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._file)

    def _resume(self) -> int:
        """Load the checkpoint, if there is one, and return the next step."""
        if not self._file.exists():
            return 0
        state = torch.load(self._file, map_location=self.device, weights_only=True)
        self.quantizer.load_state_dict(state["quantizer"])
        self.reader.load_state_dict(state["reader"])
        self._optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])


def rate_at(step: int, config: CodesTrainConfig) -> float:
    """Learning rate of a step relative to the highest: a rise, a plateau, and a fall to nothing."""
    falling = max(1, round(config.decay * config.steps))
    return min(1.0, (step + 1) / max(1, config.warmup), (config.steps - step) / falling)


def unsteadiness(grid: FSQ, changed: Tensor, clean: Tensor) -> Tensor:
    """Mean squared distance, in levels, of vectors of changed and of clean speech to the codes of the clean.

    It keeps values away from the edges between codes, so that noise changes few of them.
    """
    clean, changed = grid.bounded(clean), grid.bounded(changed)
    codes = clean.round().detach()
    return (changed - codes).square().mean() + (clean - codes).square().mean()


def _summary(losses: list[Losses]) -> str:
    words, states, read = (
        sum(float(getattr(one, name)) for one in losses) / len(losses) for name in ("words", "states", "read")
    )
    return f"words {words:.3f}, states {states:.3f}, {read:.0%} of the text's tokens read from codes"
