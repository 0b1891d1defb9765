"""Whisper through CTranslate2: sound in, words with times out; no lots are drawn: same in, same out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import SetupError
from schemas.recording import Word
from stages.stage import Samples

_TOKENS = 448
"""Whisper's text context."""
_FRAMES = 3000
"""Whisper's window of 30 s in frames of 10 ms."""


@dataclass(frozen=True)
class Heard:
    """What the recogniser makes of one window; times in seconds from its start."""

    words: tuple[Word, ...]
    average_log_probability: float
    """Of a token."""
    no_speech_probability: float

    @property
    def text(self) -> str:
        return "".join(word.text for word in self.words)


class Recogniser:
    """A faster-whisper model on one device, for `threads` threads at once."""

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
        """ISO codes that the model knows; ["en"] for one that is English only."""
        return list(self._model.supported_languages)

    def language_probabilities(self, sound: Samples, seconds: float) -> dict[str, float]:
        """Probability of each language, from at most 30 s.

        The encoder sees the sound followed by a second of nothing, and no less than `seconds`. The 30 s that
        it was trained on tell best, but cost ten times as much for a short sound; the words do need them.
        """
        from faster_whisper.audio import pad_or_trim

        features = self._model.feature_extractor(sound)[:, :-1]
        frames = min(_FRAMES, max(features.shape[1] + 100, round(100 * seconds)))
        encoded = self._model.encode(pad_or_trim(features, frames))
        return {token[2:-2]: p for token, p in self._model.model.detect_language(encoded)[0]}

    def hear(self, sounds: Sequence[Samples], language: str, repeats: bool = True) -> list[Heard]:
        """The words of some sounds of at most 30 s in one language, as one batch.

        Without `repeats` no four tokens may come twice: a second look at what came out as a loop.
        """
        from faster_whisper.audio import pad_or_trim
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        model = self._model.model
        tokenizer = Tokenizer(self._model.hf_tokenizer, model.is_multilingual, "transcribe", language)
        features = [self._model.feature_extractor(sound)[:, :-1] for sound in sounds]
        encoded = self._model.encode(np.stack([pad_or_trim(feature, _FRAMES) for feature in features]))
        results = model.generate(
            encoded,
            [[*tokenizer.sot_sequence, tokenizer.no_timestamps]] * len(sounds),
            beam_size=self._beam,
            max_length=_TOKENS,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            return_scores=True,
            return_no_speech_prob=True,
            no_repeat_ngram_size=0 if repeats else 4,
        )
        tokens = [[token for token in r.sequences_ids[0] if token < tokenizer.eot] for r in results]
        alignments = self._model.find_alignment(tokenizer, tokens, encoded, [f.shape[1] for f in features])
        return [
            Heard(_words(alignment), result.scores[0] * len(ids) / (len(ids) + 1), result.no_speech_prob)
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
