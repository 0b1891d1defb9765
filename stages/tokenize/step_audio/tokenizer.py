"""`Tokenizer` with the released checkpoint."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.arrow import Code
from schemas.errors import DataError, SetupError
from schemas.recording import Codes
from stages.gpu import DeviceName, device_of, halving_on_oom
from stages.stage import Samples
from stages.tokenize.step_audio.branches import LinguisticBranch, SemanticBranch
from stages.tokenize.step_audio.checkpoint import Checkpoint
from stages.tokenize.step_audio.counts import linguistic_count, semantic_count
from stages.tokenize.step_audio.device import Precision, set_precision, to_device
from stages.tokenize.step_audio.stream import StepAudioStream
from stages.tokenize.tokenizer import peak_normalised


class StepAudioTokenizer:
    """The same codes as the original, for batches of utterances.

    In float32, the codes of an utterance don't depend on the batch. An utterance is encoded again by itself
    where rounding, which depends on the shape of the batch, could decide between two codes.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        precision: Precision = "float32",
        dither: int | None = None,
        device: DeviceName = "auto",
    ) -> None:
        """`dither` is the seed of the noise that the original adds, the same for every utterance; None
        adds none."""
        self._device = device_of(device)
        self._exact = precision == "float32"
        set_precision(precision, checkpoint.linguistic, checkpoint.semantic)
        self._linguistic = LinguisticBranch(checkpoint, dither).to(self._device)
        self._semantic = SemanticBranch(checkpoint).to(self._device)
        self.linguistic_size = self._linguistic.nearest.size
        self.semantic_size = self._semantic.nearest.size
        self.semantic_factors: tuple[int, ...] = ()

    def encode(self, batch: Sequence[Samples]) -> list[Codes]:
        """Codes of each utterance (float32 [n] at 16 kHz), in order.

        Raises DataError for samples that are not finite, SetupError if GPU memory is too small for a single
        utterance.
        """
        try:
            return [codes for part in halving_on_oom(self._encode, batch) for codes in part] if batch else []
        except torch.OutOfMemoryError as error:
            raise SetupError(
                "tokenize: GPU memory is too small for one utterance. Raise resources.tokenize.gpus so that "
                f"fewer actors share a GPU. {str(error).splitlines()[0]}"
            ) from error

    @torch.inference_mode()
    def _encode(self, batch: Sequence[Samples]) -> list[Codes]:
        normal = [peak_normalised(samples) for samples in batch]
        if not all(np.isfinite(samples).all() for samples in normal):
            raise DataError("not_finite", "some samples are infinite or not a number")
        samples = list(to_device(np.concatenate(normal), self._device).split([len(n) for n in normal]))
        # Start the work of both branches before waiting for the results of either.
        started = [(branch, branch(samples)) for branch in (self._linguistic, self._semantic)]
        linguistic, semantic = (self._fetched(branch, codes, samples) for branch, codes in started)
        return [Codes(first, second) for first, second in zip(linguistic, semantic, strict=True)]

    def counts(self, samples: int) -> tuple[int, int]:
        """Number of linguistic and of semantic codes of an utterance with this number of samples."""
        return linguistic_count(samples), semantic_count(samples)

    def stream(self, gain: float) -> StepAudioStream:
        """A stream for one utterance whose samples are multiplied by `gain`."""
        return StepAudioStream(self._linguistic, self._semantic, gain)

    def _fetched(
        self, branch: LinguisticBranch | SemanticBranch, codes: list[Tensor], samples: list[Tensor]
    ) -> list[tuple[Code, ...]]:
        """The codes of each utterance on the host, encoded again where rounding leaves them in doubt."""
        ends = np.cumsum([own.shape[1] for own in codes])[:-1]
        fetched: list[NDArray[np.int32]] = np.split(torch.cat(codes, dim=1).cpu().numpy(), ends, axis=1)
        if self._exact and len(codes) > 1:
            for index, (_, doubtful) in enumerate(fetched):
                if doubtful.any():
                    fetched[index] = branch([samples[index]])[0].cpu().numpy()
        return [tuple(Code(code) for code in own.tolist()) for own, _ in fetched]
