"""What a Whisper model itself hears in speech, as the text that codes are to keep."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import SetupError
from stages.blas import use_one_thread
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.tokenizer import peak_normalised
from stages.tokenize.windows import padded_length

REPEATED = 5
"""Consecutive tokens that no text has twice: Whisper may repeat a short utterance without end."""
TOKENS_PER_SECOND = 12
"""More than anybody says, in English or Chinese: a text that is longer repeats itself."""
SHORTEST = 12
"""Tokens that every text may have, however short the speech."""
BEAMS = 5
"""Texts that are followed at once; Whisper's own default."""


class WhisperText:
    """A Whisper model's text of speech, or of encoder states. Raises SetupError if it can't be loaded."""

    def __init__(self, directory: Path) -> None:
        import ctranslate2
        from faster_whisper.feature_extractor import FeatureExtractor
        from tokenizers import Tokenizer

        try:
            self._model = ctranslate2.models.Whisper(str(directory), compute_type="float32", intra_threads=1)
            self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        except Exception as error:  # tokenizers raises nothing more precise
            raise SetupError(f"{directory} can't be loaded as a Whisper model: {error}") from error
        use_one_thread()
        self._mel = FeatureExtractor(feature_size=self._model.n_mels)

    def tokens(self, samples: Samples) -> tuple[tuple[int, ...], int]:
        """Tokens of at most 30 s (float32 [n] at 16 kHz), and how many of them are the prompt."""
        samples = peak_normalised(samples)
        states = self.states(samples)
        prompt = self._ids(self.prompt(self._language(states)))
        text = self._written(states, prompt, len(samples) / SAMPLE_RATE)
        return (*prompt, *text, *self._ids(["<|endoftext|>"])), len(prompt)

    def states(self, samples: Samples) -> Any:
        """States of an utterance, padded with silence as in tokenization."""
        import ctranslate2

        mel = self._mel(samples, padding=padded_length(len(samples)) - len(samples))
        return self._model.encode(ctranslate2.StorageView.from_array(mel[None].astype(np.float32)))

    def text(self, states: Any, seconds: float, language: str = "en") -> str:
        """What states [1, n, width] of so much speech say in a language by its code of two letters."""
        ids = self._written(states, self._ids(self.prompt(language)), seconds)
        return str(self._tokenizer.decode(ids)).strip()

    def prompt(self, language: str) -> Sequence[str]:
        """The tokens before a text."""
        names = ["startoftranscript", "notimestamps"]
        if self._model.is_multilingual:
            names[1:1] = [language, "transcribe"]
        return [f"<|{name}|>" for name in names]

    def _language(self, states: Any) -> str:
        if not self._model.is_multilingual:
            return "en"
        [[(name, _), *_]] = self._model.detect_language(states)
        return str(name).strip("<|>")

    def _ids(self, tokens: Sequence[str]) -> list[int]:
        ids = [self._tokenizer.token_to_id(token) for token in tokens]
        return [number for number in ids if number is not None]

    def _written(self, states: Any, prompt: Sequence[int], seconds: float) -> list[int]:
        longest = len(prompt) + SHORTEST + round(TOKENS_PER_SECOND * seconds)
        [result] = self._model.generate(
            states, [list(prompt)], beam_size=BEAMS, max_length=longest, no_repeat_ngram_size=REPEATED
        )
        return list(result.sequences_ids[0])
