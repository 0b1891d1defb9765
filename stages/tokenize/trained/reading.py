"""Words from codes alone: the reader's states, written down by Whisper's own decoder."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from schemas.errors import SetupError
from schemas.recording import Codes
from stages.stage import SAMPLE_RATE
from stages.tokenize.trained.checkpoint import TrainedCodes
from stages.tokenize.trained.layers import Weights
from stages.tokenize.trained.tokenizer import SemanticFactors, TrainedTokenizer
from stages.tokenize.trained.transcribing import WhisperText
from stages.tokenize.windows import SEMANTIC_STATES, STATE, joined

SILENCE = 15_360
"""Samples of silence behind the codes: whole groups, about a second."""


class CodeReader:
    """Reads codes. Raises SetupError if they come without a reader.

    The text that it finds is what codes hold at least: they may hold more than this reader can use.
    """

    def __init__(self, directory: Path, weights: Weights, codes: TrainedCodes) -> None:
        """`directory` is that of the Whisper model, whose weights are `weights`."""
        if codes.reader is None:
            raise SetupError("the codes have no reader")
        self._reader = codes.reader
        self._quantizer = codes.quantizer
        self._positions = weights["encoder/position_encodings/encodings"]
        self._whisper = WhisperText(directory)
        tokenizer = TrainedTokenizer(weights, codes.model_sha256, codes)
        [self._silence] = tokenizer.encode([np.zeros(SILENCE, np.float32)])

    def text(self, codes: Codes, language: str = "en", kept: tuple[bool, bool] = (True, True)) -> str:
        """What at most 30 s of codes say. `kept`: linguistic and semantic codes, or one of them."""
        import ctranslate2

        # Whisper's decoder expects silence at the end, and repeats itself without it.
        states = np.ascontiguousarray(self.states(joined([codes, self._silence]), kept).numpy())
        seconds = STATE * SEMANTIC_STATES * len(codes.semantic) / SAMPLE_RATE
        return self._whisper.text(ctranslate2.StorageView.from_array(states), seconds, language)

    @torch.no_grad()
    def states(self, codes: Codes, kept: tuple[bool, bool] = (True, True)) -> Tensor:
        """States [1, n, width] of codes."""
        factors = SemanticFactors.of(np.array([codes.semantic]))
        vectors = self._reader.vectors(
            self._quantizer.linguistic.grid.values(torch.tensor([codes.linguistic])),
            self._quantizer.semantic.grid.values(torch.from_numpy(factors.content)),
            torch.from_numpy(factors.pitch),
            torch.from_numpy(factors.energy),
            SEMANTIC_STATES * len(codes.semantic),
            torch.tensor([kept]),
        )
        states: Tensor = self._reader(vectors, self._positions)
        return states
