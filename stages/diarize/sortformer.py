"""Diarization with NeMo's Sortformer (Park et al. 2024, arXiv:2409.06656) instead of the default models."""

import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

from schemas.errors import SetupError
from stages.diarize.embedding import SpeakerEmbedding
from stages.diarize.external import with_voices
from stages.diarize.window import WindowDiarization
from stages.gpu import DeviceName, device_of
from stages.stage import Samples
from stages.voice_activity import Stretch


def nemo_file(path: Path) -> Path | None:
    """The `.nemo` checkpoint at a path, or in a folder from the hub; None if there is none."""
    if path.suffix == ".nemo":
        return path
    return next(iter(sorted(path.glob("*.nemo"))), None) if path.is_dir() else None


class SortformerDiarizer:
    """Sortformer for each window. CAM++ embeddings link speakers across windows.

    Raises SetupError if NeMo is not installed or the checkpoint can't be loaded.
    """

    def __init__(self, checkpoint: Path, embedding: SpeakerEmbedding, device: DeviceName) -> None:
        try:
            from nemo.collections.asr.models import SortformerEncLabelModel
        except ImportError as error:
            raise SetupError(
                f"diarize.pipeline: {checkpoint} needs NeMo: pip install 'nemo_toolkit[asr]' on every machine"
            ) from error
        try:
            model: Any = SortformerEncLabelModel.restore_from(
                str(checkpoint), map_location=str(device_of(device))
            )
        except Exception as error:
            raise SetupError(
                f"diarize.pipeline: {checkpoint} can't be loaded as a Sortformer: {error}"
            ) from error
        self._model = model.eval()
        self._embedding = embedding
        self._lock = threading.Lock()

    def __call__(self, samples: Samples, fewest: int, most: int | None) -> WindowDiarization | None:
        """Diarization of samples [n] at 16 kHz; None if nobody speaks.

        The number of speakers is the model's: `fewest` and `most` only bound the clustering across windows.
        """
        with self._lock:
            (lines,) = self._model.diarize(audio=[samples], batch_size=1, verbose=False)
        stretches: dict[str, list[Stretch]] = defaultdict(list)
        for line in lines:
            start, end, speaker = line.split()
            stretches[speaker].append((float(start), float(end)))
        return with_voices(dict(sorted(stretches.items())), samples, self._embedding)
