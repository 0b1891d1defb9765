"""Measures of speech: recogniser, speaker embedding, pitch tracker and DNSMOS, with the models of a build."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline.models import Model, resolve
from schemas.errors import DataError
from stages.diarize.config import DiarizeConfig
from stages.diarize.embedding import SpeakerEmbedding
from stages.evaluate.likeness import f0_correlation, mel_distance, voicing_agreement
from stages.gpu import ctranslate2_finds_gpu
from stages.quality.config import DNSMOS, FCPE
from stages.quality.dnsmos import Dnsmos
from stages.quality.pitch import PitchTracker
from stages.stage import Samples
from stages.tokenize.resample import to_16k
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.shape import RATE
from stages.transcribe import TranscribeConfig
from stages.transcribe.whisper import WhisperRecogniser
from stages.word_errors import Errors, errors


@dataclass(frozen=True)
class SpeechScores:
    """Measures that need no reference."""

    text: str
    """As the recogniser transcribes it."""
    average_log_probability: float
    """Of the recogniser's tokens."""
    no_speech_probability: float
    dnsmos: float
    """Overall, 1 to 5."""


@dataclass(frozen=True)
class ReferenceScores:
    """Measures against the original recording."""

    alone: SpeechScores
    errors: Errors | None
    """Against the written text; None without one."""
    heard_otherwise: Errors
    """Against the transcript of the original."""
    similarity: float | None
    """Cosine between the speaker embeddings; None if the audio is too short for one."""
    f0_correlation: float | None
    voicing_agreement: float
    mel_distance: float
    """dB"""


class SpeechJudge:
    """Computes all measures, on the CPU. Raises SetupError if a model is missing."""

    def __init__(self) -> None:
        transcribe = TranscribeConfig().placed(ctranslate2_finds_gpu())
        references = (transcribe.model, DNSMOS, FCPE, DiarizeConfig().embedding)
        self.models: tuple[Model, ...] = tuple(map(resolve, references))
        recogniser, quality, pitch, embedding = (model.path for model in self.models)
        self.recogniser = WhisperRecogniser(
            recogniser, transcribe.device, transcribe.precision, transcribe.beam, 1
        )
        self.quality = Dnsmos(quality)
        self.pitch = PitchTracker(pitch)
        self.embedding = SpeakerEmbedding(embedding)

    def language(self, samples: Samples, declared: str | None) -> str:
        """ISO 639-1 code: the declared one if the recogniser supports it, else the one it detects.

        `samples` at 16 kHz.
        """
        supported = self.recogniser.languages
        declared = (declared or "").lower().partition("-")[0]
        if declared in supported:
            return declared
        if len(supported) == 1:
            return supported[0]
        probabilities = self.recogniser.language_probabilities(samples, 30)
        return max(probabilities, key=lambda name: probabilities[name])

    def score(self, samples: Samples, language: str) -> SpeechScores:
        """Score up to 30 s of audio at 16 kHz."""
        [transcript] = self.recogniser.recognise([samples], language)
        return SpeechScores(
            transcript.text.strip(),
            transcript.average_log_probability,
            transcript.no_speech_probability,
            self.quality.score(samples).overall,
        )

    def compare(self, audios: Sequence[Tensor], text: str | None, language: str) -> list[ReferenceScores]:
        """Compare audios [n] at 22.05 kHz, the original included, with the first of them, the original.

        `text` is the written text of the original. Raises DataError `no_words` if no words are recognised in
        the original.
        """
        at_16 = [at_16k(audio) for audio in audios]
        scores = [self.score(samples, language) for samples in at_16]
        pitches = [self.pitch.hz(samples) for samples in at_16]
        mels = [log_mel(audio[None])[0].numpy() for audio in audios]
        # One at a time: in a batch the other items change an embedding by rounding errors.
        embeddings = [self.embedding([samples])[0] for samples in at_16]
        results = []
        for n, own in enumerate(scores):
            against_original = errors(language, scores[0].text, own.text)
            if against_original is None:
                raise DataError("no_words", "no words were recognised in it")
            similarity = float(np.clip(embeddings[n] @ embeddings[0], -1, 1))
            results.append(
                ReferenceScores(
                    own,
                    None if text is None else errors(language, text, own.text),
                    against_original,
                    None if np.isnan(similarity) else similarity,
                    f0_correlation(pitches[0], pitches[n]),
                    voicing_agreement(pitches[0], pitches[n]),
                    mel_distance(mels[0], mels[n]),
                )
            )
        return results


def at_16k(audio: Tensor) -> Samples:
    """Audio at the vocoder's rate resampled to 16 kHz."""
    return to_16k(audio.numpy(), RATE)
