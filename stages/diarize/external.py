"""Any pyannote pipeline in place of the default models."""

import threading
from pathlib import Path
from typing import Any

from schemas.errors import SetupError
from stages.diarize.clustering import Voices, stack
from stages.diarize.embedding import SpeakerEmbedding, voice_of
from stages.diarize.weights import weights_only
from stages.diarize.window import Heard
from stages.stage import SAMPLE_RATE, Samples


class PipelineDiarizer:
    """A pyannote pipeline on one window at a time; voices across windows are told apart by CAM++."""

    def __init__(self, path: Path, embedding: SpeakerEmbedding) -> None:
        from pyannote.audio import Pipeline

        try:
            with weights_only(f"diarize.pipeline: {path}"):
                self._pipeline: Any = Pipeline.from_pretrained(path)
        except SetupError:
            raise
        except Exception as error:
            raise SetupError(
                f"diarize.pipeline: {path} can't be loaded as a pyannote pipeline: {error}"
            ) from error
        if self._pipeline is None:
            raise SetupError(f"diarize.pipeline: {path} holds no pyannote pipeline")
        self._embedding = embedding
        self._one_at_a_time = threading.Lock()

    def __call__(self, samples: Samples, fewest: int, most: int | None) -> Heard | None:
        """What the pipeline hears in samples [n] at 16 kHz; None where nobody speaks."""
        import torch

        known = {"min_speakers": fewest if fewest > 1 else None, "max_speakers": most}
        file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": SAMPLE_RATE, "uri": "window"}
        with self._one_at_a_time:
            output = self._pipeline(file, **{name: n for name, n in known.items() if n is not None})
        found = getattr(output, "speaker_diarization", output)
        labels = sorted(found.labels())
        if not labels:
            return None
        segments: list[tuple[float, float, int]] = []
        voices: list[Voices] = []
        for label in labels:
            own = [(float(s.start), float(s.end)) for s in found.label_timeline(label)]
            voice = voice_of(self._embedding, own, lambda start, end: _cut(samples, start, end))
            if voice is None:
                continue  # under a quarter of a second in the whole window: nobody can be known by it
            segments += [(start, end, len(voices)) for start, end in own]
            voices.append(voice)
        return Heard(sorted(segments), stack(voices)) if voices else None


def _cut(samples: Samples, start: float, end: float) -> Samples:
    return samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
