"""Streaming tokenization of an utterance, at a cost that depends only on the new samples."""

import numpy as np
import torch
from torch import Tensor

from schemas.arrow import Code
from schemas.recording import Codes
from stages.stage import Samples
from stages.tokenize.step_audio.branches import LinguisticBranch, SemanticBranch, with_lead
from stages.tokenize.step_audio.counts import CHUNK, PIECE, linguistic_count
from stages.tokenize.step_audio.device import to_device
from stages.tokenize.step_audio.features import FBANK_BINS, HOP
from stages.tokenize.step_audio.linguistic import NEW, OLD, windows_of


class StepAudioStream:
    """`CodeStream` of a `StepAudioTokenizer`.

    Linguistic codes are returned every 240 ms, semantic codes every 30 s and at the end.
    """

    def __init__(self, linguistic: LinguisticBranch, semantic: SemanticBranch, gain: float) -> None:
        self._gain = np.float32(gain)
        self._linguistic = _LinguisticStream(linguistic)
        self._semantic = semantic
        self._device = linguistic.shift.device
        self._waiting = [torch.zeros(0, device=self._device)]
        """Samples that have no semantic codes yet, as they were fed: joined only when they fill a piece."""
        self._waiting_count = 0

    @torch.inference_mode()
    def feed(self, samples: Samples) -> Codes:
        """Add samples (float32 [n] at 16 kHz, any n) and return the codes that are final now."""
        more = to_device(samples * self._gain, self._device)
        self._waiting.append(more)
        self._waiting_count += len(more)
        whole = self._waiting[0][:0]
        if self._waiting_count >= PIECE:
            whole, rest = _cut(torch.cat(self._waiting), PIECE)
            self._waiting, self._waiting_count = [rest], len(rest)
        return _codes(self._linguistic.feed(more), self._encoded(whole))

    @torch.inference_mode()
    def finish(self) -> Codes:
        """The remaining codes. Nothing can be fed afterwards."""
        return _codes(self._linguistic.finish(), self._encoded(torch.cat(self._waiting)))

    def _encoded(self, samples: Tensor) -> Tensor:
        codes: Tensor = self._semantic([samples])[0]
        return codes


class _LinguisticStream:
    """Keeps the samples from the next chunk's first frame on, the last five rows, and the past of layers."""

    def __init__(self, branch: LinguisticBranch) -> None:
        self._branch = branch
        self._chunk = 0
        self._samples = branch.shift.new_zeros(0)
        self._features = branch.shift.new_zeros(0, FBANK_BINS)
        self._old = branch.shift.new_zeros(OLD, len(branch.shift))
        self._past = branch.encoder.initial_past()
        self._noise = branch.noise()
        self._fed = 0

    def feed(self, samples: Tensor) -> Tensor:
        self._fed += len(samples)
        self._samples = torch.cat([self._samples, samples])
        chunks = self._fed // CHUNK - self._chunk
        return self._codes(chunks, NEW * (self._chunk + chunks))

    def finish(self) -> Tensor:
        rows = linguistic_count(self._fed)
        return self._codes(-(-rows // NEW) - self._chunk, rows)

    def _codes(self, chunks: int, rows: int) -> Tensor:
        """Codes of the next chunks, up to row `rows` of the utterance."""
        branch = self._branch
        first = NEW * self._chunk
        if rows == first:
            return self._samples.new_zeros(2, 0, dtype=torch.int32)
        features = branch.features(branch.frames(self._samples, self._noise))
        self._samples = self._samples[HOP * len(features) :]
        features = torch.cat([self._features, features]) if first else with_lead(features)
        self._features = features[6 * NEW * chunks :]
        new = torch.cat([self._old, branch.rows(features, first, rows - first)])
        self._old = new[-OLD:]
        numbers = np.arange(self._chunk, self._chunk + chunks)
        self._chunk += chunks
        codes, self._past = branch.codes(windows_of(new), numbers, np.full(chunks, rows), self._past)
        return codes[:, : rows - first]


def _cut(samples: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Whole multiples of `size`, and the rest."""
    whole = len(samples) // size * size
    return samples[:whole], samples[whole:]


def _codes(linguistic: Tensor, semantic: Tensor) -> Codes:
    first, second = (tuple(map(Code, codes[0].tolist())) for codes in (linguistic, semantic))
    return Codes(first, second)
