"""One training run of a vocoder: flow and generator side by side, with metrics, samples and exact resume.

A step is determined by the settings, the utterances and the step's number. A stopped run resumes from its
last checkpoint and has the same losses, bit for bit on the same number of processes. Each process has
complete networks, which are small, and trains on its rows of a batch; gradients are averaged.
"""

import math
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.errors import SetupError
from stages.precision import computed_in
from stages.train.folder import BOARD, CHECKPOINTS, METRICS, MODEL, claim, emptied, recorded
from stages.train.metrics import MetricsFile
from stages.train.parallel import World, joined
from stages.train.progress import ProgressCallback
from stages.train.vocoder.code_embeddings import feature_statistics, initial_embeddings
from stages.train.vocoder.config import VocoderTrainConfig
from stages.train.vocoder.discriminators import Discriminators, discriminator_loss, generator_losses
from stages.train.vocoder.factor_embedding import FactorEmbedding
from stages.train.vocoder.flow import DROPPED, Conditions, flow_matching_loss, prior_loss
from stages.train.vocoder.istft import Generator
from stages.train.vocoder.measured_pitch import MeasuredPitch, PitchMeasure
from stages.train.vocoder.shape import PRESETS, RATE
from stages.train.vocoder.utterances import (
    FlowBatch,
    Utterances,
    VocoderUtterance,
    WaveBatch,
    batch_of,
    refuse_empty,
)
from stages.train.vocoder.vocoder import Vocoder, save
from stages.train.vocoder.voice_generator import VoiceGenerator
from stages.train.vocoder.wave_losses import source_noise, wave_losses, weighted

SAMPLES = "samples"
"""Folder with `<step>/<key>.wav` from tokens, `<key>.mel.wav` from the original's mel, and the original."""
PITCH = "pitch"
"""Folder with the measured pitch of each utterance."""
STATE = "state.pt"

PROMPTED = 0.5
"""Share of the excerpts whose first part, up to `LONGEST_PROMPT`, is given as a prompt."""
LONGEST_PROMPT = 0.3
"""Share of an excerpt."""

_UNRECORDED = {"checkpoint_every", "sample_every", "samples", "sentences"}
"""Settings that don't change the result (a stopped run may resume with others), or that `identity` covers."""


def train_vocoder(
    config: VocoderTrainConfig,
    speech: Utterances,
    held_out: Utterances,
    identity: Mapping[str, Any],
    folder: Path,
    on_progress: ProgressCallback = lambda metrics: None,
    codes: Mapping[str, Any] | None = None,
    voice: Path | None = None,
    factors: tuple[int, ...] = (),
    measure: PitchMeasure | None = None,
) -> Path:
    """Train a new vocoder; returns the folder of the finished one, which is in the run's folder.

    Samples are synthesised from `held_out` utterances. `identity` is recorded by the run and compared when
    it resumes; `codes` describes the tokens and is saved with the vocoder; `voice` is the voice whose latents
    are learnt, if any; `factors` are the sizes of the factors of semantic codes, if they have any; `measure`
    finds the pitch that a harmonic source is trained with. Every process of the run calls this.
    A finished run is left unchanged, and a stopped one resumes. `on_progress` is called with each step's
    metrics in the first process; they are also written to metrics.jsonl and TensorBoard. Raises SetupError,
    in all processes, if the folder holds another run, if there is nothing to learn from, if the processes
    can't share a batch evenly, or if a loss is not finite.
    """
    refuse_empty(speech)
    finished = folder / MODEL
    with joined(tensor_parallel=1) as world:
        record = {"config": recorded(config, _UNRECORDED), **identity}
        world.first(lambda: claim(folder, record))
        if not world.first(finished.exists):
            run = _Run(config, speech, held_out, folder, world, voice, factors, measure)
            run.finish(on_progress)
            world.first(lambda: _publish(run.vocoder, finished, codes))
    return finished


def _publish(vocoder: Vocoder, finished: Path, codes: Mapping[str, Any] | None) -> None:
    """Save the finished vocoder, completely or not at all."""
    partial = emptied(finished.with_name(f".{MODEL}.partial"))
    save(vocoder, partial, codes=codes)
    partial.rename(finished)


class _Run:
    def __init__(
        self,
        config: VocoderTrainConfig,
        speech: Utterances,
        held_out: Utterances,
        folder: Path,
        world: World,
        voice: Path | None,
        factors: tuple[int, ...],
        measure: PitchMeasure | None,
    ) -> None:
        self.config, self.speech, self.held_out = config, speech, held_out
        self.folder, self.world, self.device = folder, world, world.device
        if config.global_batch_size % world.data.size():
            raise SetupError(
                f"{world.data.size()} processes can't share global_batch_size {config.global_batch_size} "
                f"evenly: make it a multiple of {world.data.size()}"
            )
        self.rows = world.shares(list(range(config.global_batch_size)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            shape = PRESETS[config.preset]
            self.vocoder = Vocoder.of(replace(shape, flow=replace(shape.flow, factors=factors)))
            self.vocoder = self.vocoder.to(self.device)
            self.judges = Discriminators(config.discriminator_width).to(self.device)
        self.networks: dict[str, nn.Module] = {"flow": self.vocoder.flow}
        if isinstance(self.vocoder.wave, VoiceGenerator):
            assert voice is not None
            self.vocoder.wave.read(voice)
        else:
            self.networks |= {"wave": self.vocoder.wave, "judges": self.judges}
        self.pitch = None
        if isinstance(self.vocoder.wave, Generator) and self.vocoder.wave.shape.pitch:
            if measure is None:
                raise ValueError(f"the preset {config.preset} learns a pitch: pass the measure of it")
            self.pitch = MeasuredPitch(folder / PITCH, measure)
        self.optimizers = {name: _adamw(network, config) for name, network in self.networks.items()}

    def finish(self, on_progress: ProgressCallback) -> None:
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
                    self._write_samples(step + 1)
                if last or (step + 1) % config.checkpoint_every == 0:
                    self._checkpoint(step + 1)
                on_progress(metrics)

    def _step(self, step: int) -> dict[str, Any]:
        started = time.monotonic()
        rate = learning_rate(step, self.config)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate
        batch, wave_batch = batch_of(step, self.speech, self.config, self.rows, self.pitch)
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed + step)
        losses = self._flow_losses(batch.to(self.device), generator)
        self._update("flow", losses["flow"] + self.config.prior * losses["prior"], step)
        if wave_batch is not None:
            losses |= self._train_generator(wave_batch.to(self.device), step, generator)
        means = self.world.mean(torch.stack([loss.detach() for loss in losses.values()])).tolist()
        return {
            "step": step,
            **dict(zip(losses, means, strict=True)),
            "learning_rate": rate,
            "seconds": round(time.monotonic() - started, 3),
        }

    def _autocast(self) -> torch.autocast:
        """The networks' precision."""
        reduced = computed_in(self.config.precision, self.device.type) == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=reduced)

    def _flow_losses(self, batch: FlowBatch, generator: torch.Generator) -> dict[str, Tensor]:
        flow = self.vocoder.flow
        mel_BMT = flow.normalised(batch.features_BMT)
        drawn_4B = torch.rand(4, self.config.global_batch_size, generator=generator)
        t_B, kept_B, prompted_B, share_B = drawn_4B[:, self.rows].to(self.device)
        noise_BMT = torch.randn(self.config.global_batch_size, *mel_BMT.shape[1:], generator=generator)
        noise_BMT = noise_BMT[self.rows].to(self.device)
        prompt_B = LONGEST_PROMPT * share_B * (prompted_B < PROMPTED) * batch.is_frame_BT.sum(1)
        is_prompt_BT = torch.arange(mel_BMT.shape[2], device=self.device) < prompt_B[:, None]
        with self._autocast():
            encoded_BMT = flow.encode(batch.tokens_BL, batch.lengths_B)
            conditions = Conditions(
                encoded_BMT,
                torch.zeros(mel_BMT.shape[:2], device=self.device),
                mel_BMT * is_prompt_BT[:, None],
            ).kept((kept_B >= DROPPED).float())
            loss = flow_matching_loss(flow, mel_BMT, batch.is_frame_BT, conditions, t_B, noise_BMT)
            return {"flow": loss, "prior": prior_loss(encoded_BMT, mel_BMT, batch.is_frame_BT)}

    def _train_generator(self, batch: WaveBatch, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        wave = cast(Generator, self.vocoder.wave)
        noise_BHT = source_noise(self.config.global_batch_size, self.config.frames, wave, generator)
        noise_BHT = noise_BHT[self.rows].to(self.device)
        generated_BN, losses = wave_losses(wave, batch, noise_BHT, self._autocast())
        loss = weighted(losses)
        if self.config.adversarial_from is not None and step >= self.config.adversarial_from:
            with self._autocast():
                judged = discriminator_loss(self.judges(batch.audio_BN), self.judges(generated_BN.detach()))
            self._update("judges", judged, step)
            with self._autocast():
                against = generator_losses(self.judges(batch.audio_BN), self.judges(generated_BN))
            loss = loss + against.adversarial + against.features
            losses |= {"judges": judged, "adversarial": against.adversarial, "features": against.features}
        self._update("wave", loss, step)
        return losses

    def _update(self, name: str, loss: Tensor, step: int) -> None:
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.networks[name].parameters() if p.grad is not None]
        means = self.world.mean(torch.cat([loss.detach()[None], *(g.flatten() for g in gradients)]))
        for gradient, mean in zip(gradients, means[1:].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        norm = nn.utils.clip_grad_norm_(self.networks[name].parameters(), self.config.max_grad_norm)
        # Means over all processes, so that all of them stop.
        if not torch.isfinite(means[0]) or not torch.isfinite(norm):
            raise SetupError(
                f"step {step}: the loss of {name} is {means[0].item()} and its gradient norm {norm.item()}. "
                "Training stopped; the last checkpoint is intact"
            )
        self.optimizers[name].step()
        for network in self.networks.values():  # the generator's loss has gradients in the discriminators too
            network.zero_grad()

    def _write_samples(self, step: int) -> None:
        """Write audio samples: from tokens, from the original's mel or latents, and the original if it is
        there."""
        folder = emptied(self.folder / SAMPLES / f"{step:08}")
        for number in range(min(self.config.samples, len(self.held_out))):
            utterance = self.held_out.read(number)
            with torch.no_grad():
                known_N = self.vocoder.wave(utterance.features()[None].to(self.device))[0]
            sounds = {"": self.vocoder.speak(utterance.tokens.tolist())}
            if isinstance(utterance, VocoderUtterance):
                sounds |= {".mel": known_N, ".original": utterance.audio()}
            else:
                sounds[".latents"] = known_N
            for ending, samples_N in sounds.items():
                write_wav(folder / f"{utterance.key}{ending}.wav", samples_N)

    def _checkpoint(self, step: int) -> None:
        """Write a checkpoint, completely or not at all, and then remove the previous one."""
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
        """Load the last checkpoint; returns the next step."""
        checkpoints = self.world.first(self._checkpoints)
        if not checkpoints:
            self._start()
            return 0
        state = torch.load(checkpoints[-1] / STATE, map_location=self.device, weights_only=True)
        for name, network in self.networks.items():
            if network.state_dict().keys() != state["networks"][name].keys():
                raise SetupError(
                    f"{checkpoints[-1]} is of networks that the preset {self.config.preset} no longer has: "
                    "choose another folder to train anew"
                )
            network.load_state_dict(state["networks"][name])
            self.optimizers[name].load_state_dict(state["optimizers"][name])
        return int(checkpoints[-1].name)

    def _start(self) -> None:
        """Embeddings and normalisation from what is learnt."""
        flow, seed, speech = self.vocoder.flow, self.config.seed, self.speech
        shape = flow.shape
        embedding_CD, counts_C = self.world.first(
            lambda: initial_embeddings(speech, shape.tokens, shape.features, shape.width, seed)
        )
        if isinstance(flow.input_embedding, FactorEmbedding):
            flow.input_embedding.fit(embedding_CD, counts_C)
        else:
            flow.input_embedding.weight.data.copy_(embedding_CD)
        if shape.mean is None:
            flow.normalise_by(self.world.first(lambda: feature_statistics(speech, seed)))

    def _checkpoints(self) -> list[Path]:
        return sorted((self.folder / CHECKPOINTS).glob("[0-9]*"))


def learning_rate(step: int, config: VocoderTrainConfig) -> float:
    """Learning rate of a step, from 0: linear warm-up, then cosine decay to 0."""
    warmup_steps = math.ceil(config.warmup * config.steps)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, config.steps - warmup_steps)
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2


def _adamw(network: nn.Module, config: VocoderTrainConfig) -> torch.optim.AdamW:
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)


def write_wav(file: Path, samples_N: Tensor) -> None:
    """Write 16-bit samples at 22.05 kHz."""
    import soundfile

    soundfile.write(file, F.hardtanh(samples_N).cpu().numpy(), RATE, subtype="PCM_16")
