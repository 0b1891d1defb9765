"""`Tokenizer` over the released checkpoint."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.arrow import Code
from schemas.errors import DataError, SetupError
from schemas.recording import Codes
from stages.stage import Samples
from stages.tokenize.step_audio.branches import LinguisticBranch, SemanticBranch
from stages.tokenize.step_audio.checkpoint import Checkpoint
from stages.tokenize.step_audio.counts import linguistic_count, semantic_count
from stages.tokenize.step_audio.device import Precision, best_device, halving, sent, set_precision
from stages.tokenize.step_audio.stream import StepAudioStream
from stages.tokenize.tokenizer import peak_normalised


class StepAudioTokenizer:
    """The codes that the original makes, of many utterances at once.

    In float32 an utterance's codes are those that it gets alone, whatever else is in the batch: where the
    rounding that depends on a batch's shape could decide between two codes, it is encoded again by itself.
    """

    def __init__(
        self, checkpoint: Checkpoint, precision: Precision = "float32", dither: int | None = None
    ) -> None:
        """`dither` seeds the noise that the original adds, the same for every utterance; None adds none."""
        self._device = best_device()
        self._exact = precision == "float32"
        set_precision(precision, checkpoint.linguistic, checkpoint.semantic)
        self._linguistic = LinguisticBranch(checkpoint, dither).to(self._device)
        self._semantic = SemanticBranch(checkpoint).to(self._device)
        self.linguistic_size = self._linguistic.nearest.size
        self.semantic_size = self._semantic.nearest.size

    def encode(self, batch: Sequence[Samples]) -> list[Codes]:
        """Codes of each utterance (float32 [n] at 16 kHz), in the batch's order.

        Raises DataError for samples that are not finite, SetupError where a GPU's memory is too small for
        one utterance.
        """
        try:
            return [codes for part in halving(self._encode, batch) for codes in part] if batch else []
        except torch.OutOfMemoryError as error:
            raise SetupError(
                "the GPU's memory is too small to tokenize one utterance: let fewer actors share it "
                f"(resources.tokenize.gpus). {str(error).splitlines()[0]}"
            ) from error

    @torch.inference_mode()
    def _encode(self, batch: Sequence[Samples]) -> list[Codes]:
        normal = [peak_normalised(samples) for samples in batch]
        if not all(np.isfinite(samples).all() for samples in normal):
            raise DataError("not_finite", "some samples are infinite or no number")
        samples = list(sent(np.concatenate(normal), self._device).split([len(n) for n in normal]))
        # Both are asked of the device before either is waited for.
        asked = [(branch, branch(samples)) for branch in (self._linguistic, self._semantic)]
        linguistic, semantic = (self._fetched(branch, found, samples) for branch, found in asked)
        return [Codes(one, two) for one, two in zip(linguistic, semantic, strict=True)]

    def counts(self, samples: int) -> tuple[int, int]:
        """How many linguistic and semantic codes an utterance of so many samples gets."""
        return linguistic_count(samples), semantic_count(samples)

    def stream(self, gain: float) -> StepAudioStream:
        """An utterance that comes piece by piece, each sample multiplied by `gain`."""
        return StepAudioStream(self._linguistic, self._semantic, gain)

    def _fetched(
        self, branch: LinguisticBranch | SemanticBranch, found: list[Tensor], samples: list[Tensor]
    ) -> list[tuple[Code, ...]]:
        ends = np.cumsum([codes.shape[1] for codes in found])[:-1]
        fetched: list[NDArray[np.int32]] = np.split(torch.cat(found, dim=1).cpu().numpy(), ends, axis=1)
        if self._exact and len(found) > 1:
            for index, (_, doubtful) in enumerate(fetched):
                if doubtful.any():
                    fetched[index] = branch([samples[index]])[0].cpu().numpy()
        return [tuple(Code(code) for code in codes.tolist()) for codes, _ in fetched]
