"""Vocals without their accompaniment, by any separator that is one TorchScript or ONNX file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from pydantic import Field

from schemas.errors import DataError, SetupError
from schemas.recording import Recording
from stages.decode.spool import write_spool
from stages.stage import SAMPLE_RATE, Config, Samples

Sounds = NDArray[np.float32]
"""Samples [channels, n], or [sources, channels, n]."""

OVERLAP = 0.25
"""Share of a piece over which it fades into the next one."""
_LEVEL_BLOCK = 480
"""Samples, 30 ms, in which the level of the vocals is measured."""


class SeparatorConfig(Config):
    model: str = Field(
        description="TorchScript (.pt) or ONNX (.onnx) file, or a folder with one, that maps [1, channels, "
        "samples] to the vocals in the same shape, or to several sources, [1, sources, channels, samples]"
    )
    source: int | None = Field(
        None,
        ge=0,
        description="which of several sources the vocals are, from 0 (null: the model returns one)",
    )
    sample_rate: int = Field(44_100, ge=8000, description="sample rate of the model, in Hz")
    channels: int = Field(2, ge=1, le=2, description="channels of the model; mono is given to both of two")
    seconds: float = Field(
        8.0, gt=0, description="length of the pieces that the model is given; traced models have but one"
    )


def is_accompanied(recording: Recording) -> bool:
    """Whether the vocals of a recording are separated: songs are, unless their sidecar says
    `accompaniment: false`. Lyrics (LRC) beside a recording make it a song unless the sidecar denies it."""
    if recording.metadata.get("accompaniment") is False:
        return False
    has_lyrics = any(companion.kind == "lrc" for companion in recording.companions)
    return recording.sings or (has_lyrics and "singing" not in recording.metadata)


class Separator:
    """A separator on the CPU. Raises SetupError if there is no such file, or if it can't be loaded."""

    def __init__(self, path: Path, config: SeparatorConfig) -> None:
        self._config = config
        files = [path] if path.is_file() else [f for f in sorted(path.iterdir()) if f.suffix in _OPEN]
        if len(files) != 1 or files[0].suffix not in _OPEN:
            raise SetupError(
                f"decode.separator: {path} must be or hold one file, .pt (TorchScript) or .onnx; it has "
                f"{len(files)}"
            )
        try:
            self._model = _OPEN[files[0].suffix](files[0])
        except Exception as error:
            raise SetupError(f"decode.separator: {files[0]} can't be loaded: {error}") from error

    def write_vocals(self, song: Path, spool: Path, min_level_dbfs: float) -> int:
        """Write the vocals of a spool with one track as another one; returns the number of samples.

        Raises DataError `no_vocals` if their loudest 30 ms are below `min_level_dbfs`, SetupError if the
        model doesn't return sound of the shape that it was given.
        """
        loudest = 0.0

        def measured() -> Iterator[Samples]:
            nonlocal loudest
            for block in self._blocks(song):
                parts = np.split(block, range(_LEVEL_BLOCK, len(block), _LEVEL_BLOCK))
                loudest = max(loudest, *(float(np.sqrt(np.mean(part**2))) for part in parts))
                yield block[:, None]

        written = write_spool(measured(), spool, 1)
        if not loudest > 10 ** (min_level_dbfs / 20):
            spool.unlink(missing_ok=True)
            raise DataError(
                "no_vocals",
                f"the separator {self._config.model} returns silence for this song: nobody sings in it, or "
                "`decode.separator.source` isn't the vocals. `accompaniment: false` in the sidecar keeps a "
                "song as it is",
            )
        return written

    def _blocks(self, song: Path) -> Iterator[Samples]:
        """Vocals [n] at 16 kHz of a spool in order, from pieces that fade into each other."""
        size = round(self._config.seconds * SAMPLE_RATE)
        fade = round(size * OVERLAP)
        hop = size - fade
        rise = ((np.arange(fade) + 0.5) / fade).astype(np.float32)
        tail = np.zeros(fade, np.float32)
        with sf.SoundFile(song) as file:
            for start in range(0, max(1, file.frames), hop):
                file.seek(start)
                piece = file.read(size, dtype="float32", always_2d=True)[:, 0]
                vocals = self._vocals(np.pad(piece, (0, size - len(piece))))
                if start:
                    vocals[:fade] = vocals[:fade] * rise + tail * (1 - rise)
                tail = vocals[hop:]
                yield vocals[: min(hop, file.frames - start)]

    def _vocals(self, piece: Samples) -> Samples:
        """Vocals of samples [n] at 16 kHz, in the same number."""
        import torch
        from torchaudio.functional import resample

        config = self._config
        given = resample(torch.from_numpy(piece), SAMPLE_RATE, config.sample_rate).numpy()
        sound = np.tile(given, (config.channels, 1))
        found = self._model(sound)
        if found.ndim == 3 and config.source is not None and config.source < len(found):
            found = found[config.source]
        numbers = np.isfinite(found).all()
        if found.shape != sound.shape or not numbers:
            raise SetupError(
                f"decode.separator: {config.model} returns {list(found.shape)} for {list(sound.shape)}"
                f"{'' if numbers else ', with values that are no numbers'}: `source` ({config.source}) "
                "chooses one of several sources, and `channels`, `seconds` and "
                "`sample_rate` must be the model's own"
            )
        mono = torch.from_numpy(np.ascontiguousarray(found.mean(axis=0)))
        vocals: Samples = resample(mono, config.sample_rate, SAMPLE_RATE).numpy()
        return np.pad(vocals, (0, max(0, len(piece) - len(vocals))))[: len(piece)]


def _torchscript(file: Path) -> Callable[[Sounds], Sounds]:
    import torch

    model = torch.jit.load(str(file), map_location="cpu").eval()

    def run(sound: Sounds) -> Sounds:
        with torch.inference_mode():
            return np.array(model(torch.from_numpy(sound)[None])[0].float().numpy())

    return run


def _onnx(file: Path) -> Callable[[Sounds], Sounds]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda sound: np.array(session.run(None, {name: sound[None]})[0][0], np.float32)


_OPEN = {".pt": _torchscript, ".onnx": _onnx}
"""End of a file's name -> what opens it."""
