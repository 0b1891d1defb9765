"""One training run of a vocoder: flow and generator side by side, with metrics, samples and exact resume.

Everything that a step does follows from the settings, the speech and the step's number; a run that was
stopped goes on from its last checkpoint and gives the same losses, bit for bit on as many processes. Each
process has whole networks, which are small, and learns of its rows of a batch; gradients are averaged.
"""

import math
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.errors import SetupError
from stages.train.folder import BOARD, CHECKPOINTS, METRICS, MODEL, claim, emptied
from stages.train.metrics import MetricsFile
from stages.train.parallel import World, joined
from stages.train.progress import ProgressCallback
from stages.train.vocoder.code_embeddings import initial_embeddings
from stages.train.vocoder.config import VocoderTrainConfig
from stages.train.vocoder.discriminators import Discriminators, discriminator_loss, generator_losses
from stages.train.vocoder.flow import DROPPED, Conditions, flow_matching_loss, prior_loss
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.shape import MELS, PRESETS, RATE
from stages.train.vocoder.spectrum import spectral_distance
from stages.train.vocoder.utterances import Utterances, VocoderBatch, batch_of, refuse_empty
from stages.train.vocoder.vocoder import Vocoder, save

SAMPLES = "samples"
"""`<step>/<key>.wav` from tokens, `<key>.mel.wav` from the mel of the original, which is beside it."""
STATE = "state.pt"

MEL_WEIGHT = 45.0
SPECTRUM_WEIGHT = 10.0
"""Of the generator's losses beside its discriminators' (Vocos, section 3.3, has the first)."""
PROMPTED = 0.5
"""Share of the stretches whose first part, up to `LONGEST_PROMPT`, is given."""
LONGEST_PROMPT = 0.3

_HOW = {"checkpoint_every", "sample_every", "samples"}
"""Settings that don't change what is learnt: a stopped run may go on with others."""


def train_vocoder(
    config: VocoderTrainConfig,
    speech: Utterances,
    held: Utterances,
    identity: Mapping[str, Any],
    folder: Path,
    said: ProgressCallback = lambda metrics: None,
    codes: Mapping[str, Any] | None = None,
) -> Path:
    """Teach a new vocoder; returns the folder of the finished one, in the run's own.

    `held` are utterances that samples are spoken of. `identity` is what the run records and a resume must
    agree on, `codes` what the vocoder says of the tokens that it speaks. Every process of the run calls this.
    A finished run is left as it is, a stopped one goes on; `said` hears each step's metrics, which
    metrics.jsonl and TensorBoard get too, in the first process. Raises SetupError, in all of them, where the
    folder holds another run, where there is nothing to learn from, where they can't share a batch, or where a
    loss is no number.
    """
    refuse_empty(speech)
    finished = folder / MODEL
    with joined(tensor_parallel=1) as world:
        what = {"config": config.model_dump(mode="json", exclude=_HOW), **identity}
        world.first(lambda: claim(folder, what))
        if not world.first(finished.exists):
            run = _Run(config, speech, held, folder, world)
            run.finish(said)
            world.first(lambda: _publish(run.vocoder, finished, codes))
    return finished


def _publish(vocoder: Vocoder, finished: Path, codes: Mapping[str, Any] | None) -> None:
    """There wholly or not at all."""
    partial = emptied(finished.with_name(f".{MODEL}.partial"))
    save(vocoder, partial, codes=codes)
    partial.rename(finished)


class _Run:
    def __init__(
        self, config: VocoderTrainConfig, speech: Utterances, held: Utterances, folder: Path, world: World
    ) -> None:
        self.config, self.speech, self.held = config, speech, held
        self.folder, self.world, self.device = folder, world, world.device
        if config.global_batch_size % world.data.size():
            raise SetupError(
                f"{world.data.size()} processes can't share global_batch_size {config.global_batch_size} "
                f"evenly: make it a multiple of {world.data.size()}"
            )
        self.rows = world.shares(list(range(config.global_batch_size)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.vocoder = Vocoder.of(PRESETS[config.preset]).to(self.device)
            self.judges = Discriminators(config.discriminator_width).to(self.device)
        self.networks: dict[str, nn.Module] = {
            "flow": self.vocoder.flow,
            "wave": self.vocoder.wave,
            "judges": self.judges,
        }
        self.optimizers = {name: _adamw(network, config) for name, network in self.networks.items()}

    def finish(self, said: ProgressCallback) -> None:
        first = self._resume()
        config = self.config
        with ExitStack() as stack:
            if self.world.is_first:
                board = self.folder / BOARD
                file = stack.enter_context(closing(MetricsFile(self.folder / METRICS, board, first)))
            for step in range(first, config.steps):
                metrics = self._step(step)
                if not self.world.is_first:
                    continue
                file.write(metrics)
                last = step + 1 == config.steps
                if last or (step + 1) % config.sample_every == 0:
                    self._speak(step + 1)
                if last or (step + 1) % config.checkpoint_every == 0:
                    self._checkpoint(step + 1)
                said(metrics)

    def _step(self, step: int) -> dict[str, Any]:
        began = time.monotonic()
        rate = learning_rate(step, self.config)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate
        batch = batch_of(step, self.speech, self.config, self.rows).to(self.device)
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed + step)
        losses = self._flow_losses(batch, generator)
        self._learn("flow", losses["flow"] + self.config.prior * losses["prior"], step)
        losses |= self._teach_generator(batch, step)
        means = self.world.mean(torch.stack([loss.detach() for loss in losses.values()])).tolist()
        return {
            "step": step,
            **dict(zip(losses, means, strict=True)),
            "learning_rate": rate,
            "seconds": round(time.monotonic() - began, 3),
        }

    def _computing(self) -> torch.autocast:
        """Networks compute in the precision of the run; what compares spectra needs more than bfloat16."""
        low = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    def _flow_losses(self, batch: VocoderBatch, generator: torch.Generator) -> dict[str, Tensor]:
        flow = self.vocoder.flow
        mel_BMT = flow.normalised(batch.mel_BMT)
        drawn_4B = torch.rand(4, self.config.global_batch_size, generator=generator)
        t_B, kept_B, prompted_B, share_B = drawn_4B[:, self.rows].to(self.device)
        noise_BMT = torch.randn(self.config.global_batch_size, *mel_BMT.shape[1:], generator=generator)
        noise_BMT = noise_BMT[self.rows].to(self.device)
        given_B = LONGEST_PROMPT * share_B * (prompted_B < PROMPTED) * batch.there_BT.sum(1)
        is_given_BT = torch.arange(mel_BMT.shape[2], device=self.device) < given_B[:, None]
        with self._computing():
            said_BMT = flow.encode(batch.tokens_BL, batch.lengths_B)
            conditions = Conditions(
                said_BMT,
                torch.zeros(len(mel_BMT), MELS, device=self.device),
                mel_BMT * is_given_BT[:, None],
            ).kept((kept_B >= DROPPED).float())
            loss = flow_matching_loss(flow, mel_BMT, batch.there_BT, conditions, t_B, noise_BMT)
            return {"flow": loss, "prior": prior_loss(said_BMT, mel_BMT, batch.there_BT)}

    def _teach_generator(self, batch: VocoderBatch, step: int) -> dict[str, Tensor]:
        with self._computing():
            made_BN = self.vocoder.wave(batch.sound_mel_BMT)
        mel = (log_mel(made_BN) - log_mel(batch.sound_BN)).abs().mean()
        spectrum = spectral_distance(made_BN, batch.sound_BN)
        losses = {"mel": mel, "spectrum": spectrum}
        loss = MEL_WEIGHT * mel + SPECTRUM_WEIGHT * spectrum
        if self.config.adversarial_from is not None and step >= self.config.adversarial_from:
            with self._computing():
                judged = discriminator_loss(self.judges(batch.sound_BN), self.judges(made_BN.detach()))
            self._learn("judges", judged, step)
            with self._computing():
                against = generator_losses(self.judges(batch.sound_BN), self.judges(made_BN))
            loss = loss + against.adversarial + against.features
            losses |= {"judges": judged, "adversarial": against.adversarial, "features": against.features}
        self._learn("wave", loss, step)
        return losses

    def _learn(self, name: str, loss: Tensor, step: int) -> None:
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.networks[name].parameters() if p.grad is not None]
        together = self.world.mean(torch.cat([loss.detach()[None], *(g.flatten() for g in gradients)]))
        for gradient, mean in zip(gradients, together[1:].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        norm = nn.utils.clip_grad_norm_(self.networks[name].parameters(), self.config.max_grad_norm)
        # Of all processes, so that none goes on alone.
        if not torch.isfinite(together[0]) or not torch.isfinite(norm):
            raise SetupError(
                f"step {step}: the loss of {name} is {together[0].item()} and its gradient's norm "
                f"{norm.item()}. Stopped; the last checkpoint is good"
            )
        self.optimizers[name].step()
        for network in self.networks.values():  # the generator's loss reaches the judges too
            network.zero_grad()

    def _speak(self, step: int) -> None:
        """Samples as audio: of tokens, of the mel alone, and the original."""
        folder = emptied(self.folder / SAMPLES / f"{step:08}")
        for number in range(min(self.config.samples, len(self.held))):
            utterance = self.held.read(number)
            sound_N = utterance.sound()
            with torch.no_grad():
                again_N = self.vocoder.wave(log_mel(sound_N[None].to(self.device)))[0]
            spoken_N = self.vocoder.speak(utterance.tokens.tolist())
            for ending, samples_N in (("", spoken_N), (".mel", again_N), (".original", sound_N)):
                write_wav(folder / f"{utterance.key}{ending}.wav", samples_N)

    def _checkpoint(self, step: int) -> None:
        """There wholly or not at all; the one before goes when it is."""
        partial = emptied(self.folder / CHECKPOINTS / ".partial")
        state = {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }
        with (partial / STATE).open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self.folder / CHECKPOINTS / f"{step:08}")
        for older in self._checkpoints()[:-1]:
            shutil.rmtree(older)

    def _resume(self) -> int:
        """Take over the last checkpoint; the step to go on with."""
        found = self.world.first(self._checkpoints)
        if not found:
            codes = self.vocoder.flow.input_embedding.weight.data
            size, width = codes.shape
            codes.copy_(
                self.world.first(lambda: initial_embeddings(self.speech, size, width, self.config.seed))
            )
            return 0
        state = torch.load(found[-1] / STATE, map_location=self.device, weights_only=True)
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
            self.optimizers[name].load_state_dict(state["optimizers"][name])
        return int(found[-1].name)

    def _checkpoints(self) -> list[Path]:
        return sorted((self.folder / CHECKPOINTS).glob("[0-9]*"))


def learning_rate(step: int, config: VocoderTrainConfig) -> float:
    """Of a step, from 0: a straight rise, then half a cosine down to nothing."""
    rising = math.ceil(config.warmup * config.steps)
    if step < rising:
        return config.learning_rate * (step + 1) / rising
    done = (step - rising) / max(1, config.steps - rising)
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2


def _adamw(network: nn.Module, config: VocoderTrainConfig) -> torch.optim.AdamW:
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))


def write_wav(file: Path, samples_N: Tensor) -> None:
    """16-bit samples at 22.05 kHz."""
    import soundfile

    soundfile.write(file, F.hardtanh(samples_N).cpu().numpy(), RATE, subtype="PCM_16")
