"""Speech recognition with Whisper on CTranslate2: words with times, by beam search without sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import SetupError
from schemas.recording import Word
from stages.blas import use_one_thread
from stages.gpu import require_cublas
from stages.stage import SAMPLE_RATE, Samples
from stages.transcribe.alignment import spread
from stages.transcribe.recogniser import Hypothesis

_MAX_TOKENS = 448
"""Length of Whisper's text context."""
_WINDOW_FRAMES = 3000
"""Whisper's window of 30 s, in frames of 10 ms."""


@dataclass(frozen=True)
class WhisperHypothesis(Hypothesis):
    """Whisper always tells how sure it is."""

    average_log_probability: float
    no_speech_probability: float


class WhisperRecogniser:
    """A faster-whisper model on one device, for use by `threads` threads at once.

    Raises SetupError if the model can't be loaded.
    """

    joins_turns = True

    def __init__(self, path: Path, device: str, compute_type: str, beam: int, threads: int) -> None:
        from faster_whisper import WhisperModel

        use_one_thread()
        if device == "cuda":
            require_cublas("transcribe")

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
    ) -> list[WhisperHypothesis]:
        """The words of windows [n] of at most 30 s at 16 kHz in one language, decoded as one batch.

        Without `allow_repeats`, no four tokens occur twice in a window, which breaks loops.
        """
        from faster_whisper.transcribe import get_suppressed_tokens

        model, tokenizer = self._model.model, self._tokenizer(language)
        encoded, frames = self._encoded(windows)
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
        alignments = self._model.find_alignment(tokenizer, tokens, encoded, frames)
        return [
            WhisperHypothesis(
                _words(alignment), result.scores[0] * len(ids) / (len(ids) + 1), result.no_speech_prob
            )
            for result, ids, alignment in zip(results, tokens, alignments, strict=True)
        ]

    def align(
        self, windows: Sequence[Samples], texts: Sequence[str], language: str
    ) -> list[tuple[Word, ...]]:
        """The words of each text with their times in its window [n] of at most 30 s at 16 kHz.

        The times are those that Whisper's attention gives to somebody else's words. A text that it can't
        follow is spread over the window.
        """
        tokenizer = self._tokenizer(language)
        tokens = [tokenizer.encode(f" {text.strip()}") for text in texts]
        spread_out = [spread(t, len(w) / SAMPLE_RATE) for t, w in zip(texts, windows, strict=True)]
        fit = [k for k, ids in enumerate(tokens) if 0 < len(ids) < _MAX_TOKENS // 2]
        if not fit:
            return spread_out
        encoded, frames = self._encoded([windows[k] for k in fit])
        found = self._model.find_alignment(tokenizer, [tokens[k] for k in fit], encoded, frames)
        for k, alignment in zip(fit, found, strict=True):
            words = _words(alignment)
            if "".join(word.text for word in words).split() == texts[k].split():
                spread_out[k] = words
        return spread_out

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        known = language if language in self._model.supported_languages else "en"
        return Tokenizer(self._model.hf_tokenizer, self._model.model.is_multilingual, "transcribe", known)

    def _encoded(self, windows: Sequence[Samples]) -> tuple[Any, list[int]]:
        """The encoder's output for windows [n] of at most 30 s, and their numbers of frames."""
        from faster_whisper.audio import pad_or_trim

        features = [self._model.feature_extractor(samples)[:, :-1] for samples in windows]
        encoded = self._model.encode(np.stack([pad_or_trim(f, _WINDOW_FRAMES) for f in features]))
        return encoded, [f.shape[1] for f in features]


def _words(alignment: list[dict[str, Any]]) -> tuple[Word, ...]:
    from faster_whisper.transcribe import merge_punctuations

    merge_punctuations(alignment, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
    return tuple(
        Word(float(word["start"]), float(word["end"]), word["word"], float(word["probability"]))
        for word in alignment
        if word["word"]
    )
