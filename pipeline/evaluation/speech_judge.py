"""Who listens to an utterance: recogniser, speaker embedding, pitch tracker and DNSMOS, as in a build."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline.models import Model, resolve
from schemas.errors import DataError
from stages.diarize.config import DiarizeConfig
from stages.diarize.embedding import SpeakerEmbedding
from stages.evaluate.likeness import f0_correlation, mel_distance, voicing_agreement
from stages.evaluate.words import Errors, errors
from stages.quality import QualityConfig
from stages.quality.dnsmos import Dnsmos
from stages.quality.pitch import PitchTracker
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.resample import to_16k
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.shape import RATE
from stages.transcribe import TranscribeConfig
from stages.transcribe.recogniser import Recogniser


@dataclass(frozen=True)
class SpeechScores:
    """What is heard of a sound without another beside it."""

    text: str
    average_log_probability: float
    """Of the recogniser's tokens."""
    no_speech_probability: float
    dnsmos: float
    """Overall, 1 to 5."""


@dataclass(frozen=True)
class ReferenceScores:
    """A sound beside its original."""

    alone: SpeechScores
    errors: Errors | None
    """Against the text that somebody wrote down."""
    heard_otherwise: Errors
    """Against what is heard in the original."""
    similarity: float | None
    """Cosine between the voices; None where they are too short to be known."""
    f0_correlation: float | None
    voicing_agreement: float
    mel_distance: float
    """dB"""


class SpeechJudge:
    """All models, on the CPU. Raises SetupError where one is missing."""

    def __init__(self) -> None:
        hearing, measures, voices = TranscribeConfig(), QualityConfig(), DiarizeConfig()
        references = (hearing.model, measures.quality, measures.pitch, voices.embedding)
        self.models: tuple[Model, ...] = tuple(map(resolve, references))
        recogniser, quality, pitch, voice = (model.path for model in self.models)
        self._recogniser = Recogniser(recogniser, hearing.device, hearing.compute_type, hearing.beam, 1)
        self._quality = Dnsmos(quality)
        self._pitch = PitchTracker(pitch)
        with redirect_stdout(io.StringIO()):  # of which FCPE makes use while it loads, and which is ours
            self._pitch.hz(np.zeros(SAMPLE_RATE, np.float32))
        self._voice = SpeakerEmbedding(voice)

    def language(self, sound: Samples, said: str | None) -> str:
        """ISO 639-1 code: what is said of a sound (16 kHz) if the recogniser knows it, else what it hears."""
        known = self._recogniser.languages
        said = (said or "").lower().partition("-")[0]
        if said in known:
            return said
        if len(known) == 1:
            return known[0]
        chances = self._recogniser.language_probabilities(sound, 30)
        return max(chances, key=lambda name: chances[name])

    def score(self, sound: Samples, language: str) -> SpeechScores:
        """Of at most 30 s at 16 kHz."""
        [heard] = self._recogniser.recognise([sound], language)
        return SpeechScores(
            heard.text.strip(),
            heard.average_log_probability,
            heard.no_speech_probability,
            self._quality.score(sound).overall,
        )

    def compare(self, sounds: Sequence[Tensor], text: str | None, language: str) -> list[ReferenceScores]:
        """Sounds [n] at 22.05 kHz beside the first of them, the original; the first one beside itself.

        Raises DataError `no_words` where nothing is said in the original.
        """
        heard_at = [at_16k(sound) for sound in sounds]
        alone = [self.score(sound, language) for sound in heard_at]
        pitches = [self._pitch.hz(sound) for sound in heard_at]
        mels = [log_mel(sound[None])[0].numpy() for sound in sounds]
        # One by one: a voice's vector is the same whatever stands beside it in a batch, but for roundings.
        voices = [self._voice([sound])[0] for sound in heard_at]
        found = []
        for n, own in enumerate(alone):
            otherwise = errors(language, alone[0].text, own.text)
            if otherwise is None:
                raise DataError("no_words", "no words are heard in it")
            similarity = float(np.clip(voices[n] @ voices[0], -1, 1))
            found.append(
                ReferenceScores(
                    own,
                    None if text is None else errors(language, text, own.text),
                    otherwise,
                    None if np.isnan(similarity) else similarity,
                    f0_correlation(pitches[0], pitches[n]),
                    voicing_agreement(pitches[0], pitches[n]),
                    mel_distance(mels[0], mels[n]),
                )
            )
        return found


def at_16k(sound: Tensor) -> Samples:
    """A sound of the vocoder for those who listen at 16 kHz."""
    return to_16k(sound.numpy(), RATE)
