"""Diarization with a pyannote pipeline instead of the default models."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import SetupError
from stages.diarize.clustering import VoiceClusters, stack
from stages.diarize.embedding import SpeakerEmbedding, voice_of
from stages.diarize.weights import weights_only
from stages.diarize.window import WindowDiarization
from stages.gpu import DeviceName, device_of
from stages.stage import SAMPLE_RATE, Samples
from stages.voice_activity import Stretch


class PipelineDiarizer:
    """A pyannote pipeline for each window. CAM++ embeddings link speakers across windows.

    Raises SetupError if the pipeline can't be loaded.
    """

    def __init__(self, path: Path, embedding: SpeakerEmbedding, device: DeviceName) -> None:
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
            raise SetupError(f"diarize.pipeline: {path} contains no pyannote pipeline")
        self._pipeline.to(device_of(device))
        self._embedding = embedding
        self._lock = threading.Lock()

    def __call__(self, samples: Samples, fewest: int, most: int | None) -> WindowDiarization | None:
        """Diarization of samples [n] at 16 kHz with `fewest` to `most` speakers; None if nobody speaks."""
        import torch

        bounds = {"min_speakers": fewest if fewest > 1 else None, "max_speakers": most}
        file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": SAMPLE_RATE, "uri": "window"}
        with self._lock:
            output = self._pipeline(file, **{name: n for name, n in bounds.items() if n is not None})
        annotation = getattr(output, "speaker_diarization", output)
        labels = sorted(annotation.labels())
        if not labels:
            return None
        stretches = {
            label: [(float(s.start), float(s.end)) for s in annotation.label_timeline(label)]
            for label in labels
        }
        return with_voices(stretches, samples, self._embedding)


def with_voices(
    stretches: Mapping[str, list[Stretch]], samples: Samples, embedding: SpeakerEmbedding
) -> WindowDiarization | None:
    """The diarization that an external diarizer made of samples [n], with the voice of each label."""
    segments: list[tuple[float, float, int]] = []
    voices: list[VoiceClusters] = []
    for own in stretches.values():
        voice = voice_of(embedding, own, lambda start, end: _cut(samples, start, end))
        if voice is None:
            continue  # less than 0.3 s at a time in the whole window: too short to identify a voice
        segments += [(start, end, len(voices)) for start, end in own]
        voices.append(voice)
    return WindowDiarization(sorted(segments), stack(voices)) if voices else None


def _cut(samples: Samples, start: float, end: float) -> Samples:
    return samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
