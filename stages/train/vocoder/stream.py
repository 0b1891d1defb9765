"""Streaming synthesis, a block at a time, with the same samples as for the whole utterance.

A block of 15 tokens (0.36 s) is synthesised when it and its look-ahead have arrived: 5 more tokens in our
shapes, so that the first audio comes after 20 tokens (0.48 s). The last 4.5 frames (52 ms) of each block, or
11 (128 ms) with the generator of a voice, wait for the next one, because the generator looks ahead too. Time
and memory per block don't grow with the utterance.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from schemas.errors import SetupError
from stages.train.vocoder.flow import STEPS, Conditions, solve
from stages.train.vocoder.hift import HiFT
from stages.train.vocoder.istft import AHEAD, EDGE, Generator, overlap_sums
from stages.train.vocoder.noise import noise
from stages.train.vocoder.past import Past
from stages.train.vocoder.shape import BLOCK, HOP, MELS, frames_of
from stages.train.vocoder.vocoder import Vocoder, checked
from stages.train.vocoder.voice_generator import VoiceStream


class VocoderStream:
    """One utterance, whose tokens arrive one by one or in pieces of any size."""

    def __init__(
        self,
        vocoder: Vocoder,
        steps: int = STEPS,
        guidance: float | None = None,
        seed: int = 0,
        speaker: Sequence[float] | None = None,
    ) -> None:
        shape, wave = vocoder.flow.shape, vocoder.wave
        if shape.past is None or isinstance(wave, HiFT):
            raise SetupError(
                "this vocoder can't stream, because its layers see the whole utterance: synthesise whole ones"
            )
        self._vocoder = vocoder
        self._ahead = shape.ahead
        self._steps, self._guidance, self._seed = steps, guidance, seed
        self._speaker_1M = vocoder.speaker(speaker)
        self._waiting: list[int] = []
        self._done = 0
        self._encoder = Past(shape.past)
        self._solver = [Past(shape.past) for _ in range(steps)]
        self._wave = WaveStream(wave) if isinstance(wave, Generator) else VoiceStream(wave)

    @torch.no_grad()
    def push(self, tokens: Sequence[int]) -> Tensor:
        """samples_N at 22.05 kHz that are final after some more tokens. Raises ValueError for an invalid
        token."""
        if tokens:
            self._waiting += checked(tokens, self._vocoder.flow.shape)
        samples = [torch.zeros(0)]
        while len(self._waiting) >= BLOCK + self._ahead:
            samples.append(self._wave.push(self._block()))
        return torch.cat(samples)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """The remaining samples_N. Nothing can be pushed afterwards."""
        samples = []
        while self._waiting:
            samples.append(self._wave.push(self._block()))
        return torch.cat([*samples, self._wave.finish()])

    def _block(self) -> Tensor:
        """Mel or latents x_1MT of the next block."""
        flow = self._vocoder.flow
        visible = self._waiting[: BLOCK + self._ahead]
        own = min(BLOCK, len(visible))
        first, end = frames_of(self._done), frames_of(self._done + own)
        tokens_1L = torch.tensor([visible], device=self._vocoder.device)
        tokens_1MT = flow.encode(tokens_1L, None, len(visible) - own, self._encoder, self._done)
        conditions = Conditions(tokens_1MT, self._speaker_1M, torch.zeros_like(tokens_1MT))
        noise_1MT = noise(self._seed, first, end, flow.shape.features).to(tokens_1MT)
        solved_1MT = solve(flow, noise_1MT, conditions, self._steps, self._guidance, self._solver)
        self._done += own
        del self._waiting[:own]
        return flow.restored(solved_1MT)


class WaveStream:
    """The generator, for mels that arrive piece by piece."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._past = Past(0)
        self._mel_1MT = torch.zeros(1, MELS, AHEAD + generator.before, device=generator.out.weight.device)
        self._sums_N = torch.zeros(0)
        self._weights_N = torch.zeros(0)
        self._skip = EDGE + HOP * generator.before
        self._done = 0

    def push(self, mel_1MT: Tensor) -> Tensor:
        """samples_N that are final after some more frames."""
        return self._push(self._generator.normalised(mel_1MT))

    def finish(self) -> Tensor:
        """The remaining samples_N."""
        final_N = self._push(torch.zeros_like(self._mel_1MT[..., :AHEAD]))
        edge_N = (self._sums_N / self._weights_N.clamp(min=1e-8))[self._skip : EDGE].clamp(-1, 1)
        return torch.cat([final_N, edge_N])

    def _push(self, x_1MT: Tensor) -> Tensor:
        x_1MT = torch.cat([self._mel_1MT, x_1MT], -1)
        self._mel_1MT = x_1MT[..., -2 * AHEAD :]
        if x_1MT.shape[-1] <= 2 * AHEAD:
            return torch.zeros(0)
        frames_1TW = self._generator.frames(x_1MT, self._past, self._done)
        self._done += frames_1TW.shape[1]
        sums_1N, weights_N = overlap_sums(frames_1TW)
        sums_N = sums_1N[0].cpu()
        weights_N = weights_N.cpu()
        sums_N[: len(self._sums_N)] += self._sums_N
        weights_N[: len(self._weights_N)] += self._weights_N
        final = HOP * frames_1TW.shape[1]
        self._sums_N, self._weights_N = sums_N[final:], weights_N[final:]
        skipped, self._skip = self._skip, max(0, self._skip - final)
        return (sums_N[:final] / weights_N[:final].clamp(min=1e-8))[skipped:].clamp(-1, 1)
