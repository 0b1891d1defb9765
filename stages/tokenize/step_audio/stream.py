"""An utterance that comes piece by piece, at the cost of the new samples alone."""

import numpy as np
import torch
from torch import Tensor

from schemas.arrow import Code
from schemas.recording import Codes
from stages.stage import Samples
from stages.tokenize.step_audio.branches import LinguisticBranch, SemanticBranch, led
from stages.tokenize.step_audio.counts import CHUNK, PIECE, linguistic_count
from stages.tokenize.step_audio.device import sent
from stages.tokenize.step_audio.features import FBANK_BINS, HOP
from stages.tokenize.step_audio.linguistic import NEW, OLD, windows_of


class StepAudioStream:
    """Linguistic codes come every 240 ms, semantic ones at each cut of 30 s and at the end."""

    def __init__(self, linguistic: LinguisticBranch, semantic: SemanticBranch, gain: float) -> None:
        self._gain = np.float32(gain)
        self._linguistic = _LinguisticStream(linguistic)
        self._semantic = semantic
        self._device = linguistic.shift.device
        self._piece = torch.zeros(0, device=self._device)

    @torch.inference_mode()
    def feed(self, samples: Samples) -> Codes:
        """The codes that so many more samples (float32 [n] at 16 kHz, any n) make final."""
        more = sent(samples * self._gain, self._device)
        whole, self._piece = _cut(torch.cat([self._piece, more]), PIECE)
        return _codes(self._linguistic.feed(more), self._encoded(whole))

    @torch.inference_mode()
    def finish(self) -> Codes:
        """The codes of what is left. Nothing can be fed afterwards."""
        return _codes(self._linguistic.finish(), self._encoded(self._piece))

    def _encoded(self, samples: Tensor) -> Tensor:
        codes: Tensor = self._semantic([samples])[0]
        return codes


class _LinguisticStream:
    """Keeps the samples from the next chunk's first frame on, the last five rows, and the layers' past."""

    def __init__(self, branch: LinguisticBranch) -> None:
        self._branch = branch
        self._chunk = 0
        self._samples = branch.shift.new_zeros(0)
        self._features = branch.shift.new_zeros(0, FBANK_BINS)
        self._old = branch.shift.new_zeros(OLD, len(branch.shift))
        self._past = branch.encoder.beginning()
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
        features = torch.cat([self._features, features]) if first else led(features)
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
    one, two = (tuple(Code(code) for code in found[0].tolist()) for found in (linguistic, semantic))
    return Codes(one, two)
