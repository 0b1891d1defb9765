"""Speech recognition with Whisper on CTranslate2: words with times, by beam search without sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import SetupError
from schemas.recording import Word
from stages.stage import Samples

_MAX_TOKENS = 448
"""Length of Whisper's text context."""
_WINDOW_FRAMES = 3000
"""Whisper's window of 30 s, in frames of 10 ms."""


@dataclass(frozen=True)
class Hypothesis:
    """The words recognised in a window or a turn; times in seconds, in a window from its start."""

    words: tuple[Word, ...]
    average_log_probability: float
    """Mean over tokens or words."""
    no_speech_probability: float

    @property
    def text(self) -> str:
        return "".join(word.text for word in self.words)


class Recogniser:
    """A faster-whisper model on one device, for use by `threads` threads at once.

    Raises SetupError if the model can't be loaded.
    """

    def __init__(self, path: Path, device: str, compute_type: str, beam: int, threads: int) -> None:
        from faster_whisper import WhisperModel

        try:
            self._model = WhisperModel(
                str(path), device, compute_type=compute_type, cpu_threads=1, num_workers=threads
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise SetupError(
                f"transcribe can't load the model in {path} ({compute_type} on {device}): {error}"
            ) from error
        self._beam = beam

    @property
    def languages(self) -> list[str]:
        """ISO 639-1 codes of the languages that the model supports; ["en"] for an English-only model."""
        return list(self._model.supported_languages)

    def language_probabilities(self, samples: Samples, seconds: float) -> dict[str, float]:
        """Probability of each language from samples [n] at 16 kHz, of which 30 s are used.

        The encoder gets the audio and a second of silence after it, at least `seconds` in all. The full 30 s
        that it was trained on would be most accurate, but cost ten times as much for short audio. Detecting
        the language works without them; recognising words does not.
        """
        from faster_whisper.audio import pad_or_trim

        features = self._model.feature_extractor(samples)[:, :-1]
        frames = min(_WINDOW_FRAMES, max(features.shape[1] + 100, round(100 * seconds)))
        encoded = self._model.encode(pad_or_trim(features, frames))
        return {token[2:-2]: p for token, p in self._model.model.detect_language(encoded)[0]}

    def recognise(
        self, windows: Sequence[Samples], language: str, allow_repeats: bool = True
    ) -> list[Hypothesis]:
        """The words of windows [n] of at most 30 s at 16 kHz in one language, decoded as one batch.

        Without `allow_repeats`, no four tokens occur twice in a window, which breaks loops.
        """
        from faster_whisper.audio import pad_or_trim
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        model = self._model.model
        tokenizer = Tokenizer(self._model.hf_tokenizer, model.is_multilingual, "transcribe", language)
        features = [self._model.feature_extractor(samples)[:, :-1] for samples in windows]
        encoded = self._model.encode(np.stack([pad_or_trim(f, _WINDOW_FRAMES) for f in features]))
        results = model.generate(
            encoded,
            [[*tokenizer.sot_sequence, tokenizer.no_timestamps]] * len(windows),
            beam_size=self._beam,
            max_length=_MAX_TOKENS,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            return_scores=True,
            return_no_speech_prob=True,
            no_repeat_ngram_size=0 if allow_repeats else 4,
        )
        tokens = [[token for token in r.sequences_ids[0] if token < tokenizer.eot] for r in results]
        alignments = self._model.find_alignment(tokenizer, tokens, encoded, [f.shape[1] for f in features])
        return [
            Hypothesis(_words(alignment), result.scores[0] * len(ids) / (len(ids) + 1), result.no_speech_prob)
            for result, ids, alignment in zip(results, tokens, alignments, strict=True)
        ]


def _words(alignment: list[dict[str, Any]]) -> tuple[Word, ...]:
    from faster_whisper.transcribe import merge_punctuations

    merge_punctuations(alignment, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
    return tuple(
        Word(float(word["start"]), float(word["end"]), word["word"], float(word["probability"]))
        for word in alignment
        if word["word"]
    )
