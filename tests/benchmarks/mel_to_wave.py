"""The generator from mel to wave with or without a harmonic source, after equal training, on held-out speech.

    python tests/benchmarks/mel_to_wave.py demo harmonic 2000 RECORDING.. --held-out RECORDING..
    python tests/benchmarks/mel_to_wave.py demo plain 2000 RECORDING.. --held-out RECORDING..

Prints for each held-out recording, and as their means, the correlation of log F0 with the original's, the
share of frames that are voiced in both or in neither, the log-mel distance, and the same correlation of the
pitch head's prediction. No discriminators are trained.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr
import torch
from torch import nn

from pipeline.models import resolve
from stages.evaluate.likeness import f0_correlation, mel_distance, voicing_agreement
from stages.quality import QualityConfig
from stages.quality.pitch import PitchTracker
from stages.stage import SAMPLE_RATE
from stages.train.vocoder.config import VocoderTrainConfig
from stages.train.vocoder.istft import Generator
from stages.train.vocoder.measured_pitch import MeasuredPitch, at_frames
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.pitch_head import pitch_hz
from stages.train.vocoder.shape import PRESETS, RATE, WaveShape, frames_of
from stages.train.vocoder.train import learning_rate
from stages.train.vocoder.utterances import InMemoryUtterances, VocoderUtterance, batch_of
from stages.train.vocoder.wave_losses import source_noise, wave_losses, weighted

PIECE = 165
"""Tokens of the pieces into which recordings are cut: 3.96 s."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("preset", choices=["tiny", "demo", "small"])
    parser.add_argument("source", choices=["harmonic", "plain"])
    parser.add_argument("steps", type=int)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--held-out", nargs="+", type=Path, required=True)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--samples", type=Path, help="folder to write the held-out recordings as spoken to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = VocoderTrainConfig(
        preset=arguments.preset,
        steps=arguments.steps,
        global_batch_size=8,
        blocks=1,
        precision=arguments.precision,
    )
    tracker = PitchTracker(resolve(QualityConfig().pitch).path)
    speech = InMemoryUtterances([piece for file in arguments.recordings for piece in pieces(file)])
    shape = PRESETS[arguments.preset].wave
    assert isinstance(shape, WaveShape)
    if arguments.source == "plain":
        shape = replace(shape, pitch=0)
    with TemporaryDirectory() as folder:
        pitch = MeasuredPitch(Path(folder), tracker.hz)
        began = time.process_time()
        wave = trained(shape, config, speech, pitch)
        print(f"{arguments.source}: {time.process_time() - began:.0f} CPU seconds", flush=True)
    results = []
    for file in arguments.held_out:
        results.append(heard(wave, file, tracker, arguments.samples))
        print(file.stem, *(f"{value:.3f}" for value in results[-1]), flush=True)
    print("mean", *(f"{value:.3f}" for value in np.nanmean(results, axis=0)))


def pieces(file: Path) -> list[VocoderUtterance]:
    samples, rate = soundfile.read(file, dtype="float32")
    samples = soxr.resample(samples if samples.ndim == 1 else samples.mean(1), rate, RATE)
    length = frames_of(PIECE) * 256
    tokens = np.zeros(PIECE, np.int32)
    cut = [samples[at : at + length] for at in range(0, len(samples), length)]
    return [VocoderUtterance(f"{file.stem}-{n}", tokens, part) for n, part in enumerate(cut) if part.any()]


def trained(
    shape: WaveShape, config: VocoderTrainConfig, speech: InMemoryUtterances, pitch: MeasuredPitch
) -> Generator:
    torch.manual_seed(0)
    wave = Generator(shape)
    optimizer = torch.optim.AdamW(wave.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    rows = range(config.global_batch_size)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        _, batch = batch_of(step, speech, config, rows, pitch)
        assert batch is not None
        generator = torch.Generator().manual_seed(step)
        noise = source_noise(len(rows), config.frames, wave, generator)
        precision = torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16")
        _, losses = wave_losses(wave, batch, noise, precision)
        weighted(losses).backward()
        nn.utils.clip_grad_norm_(wave.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 100 == 0:
            print(step + 1, " ".join(f"{k} {v.item():.3f}" for k, v in losses.items()), flush=True)
    return wave.eval()


@torch.no_grad()
def heard(wave: Generator, file: Path, tracker: PitchTracker, folder: Path | None) -> list[float]:
    original = torch.cat([piece.audio() for piece in pieces(file)])
    mel = log_mel(original[None])
    spoken = wave(mel)[0].clamp(-1, 1)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / file.with_suffix(".wav").name, spoken.numpy(), RATE)
    measured, again = (
        tracker.hz(soxr.resample(samples.numpy(), RATE, SAMPLE_RATE).clip(-1, 1).astype(np.float32))
        for samples in (original, spoken)
    )
    distance = mel_distance(mel[0].numpy(), log_mel(spoken[None])[0].numpy())
    measures = [f0_correlation(measured, again), voicing_agreement(measured, again), distance]
    if wave.shape.pitch:
        predicted = pitch_hz(*wave.pitch(nn.functional.pad(wave.normalised(mel), (1, 1))))[0].numpy()
        measures.append(f0_correlation(at_frames(measured, mel.shape[2]), predicted))
    return [np.nan if measure is None else measure for measure in measures]


if __name__ == "__main__":
    main()
