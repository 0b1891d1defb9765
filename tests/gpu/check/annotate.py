"""Step 8: what diarize, transcribe and quality compute, against a CPU, and how fast at several batch sizes.

Their models are those of packages: what isn't installed is told, and the others are measured.
"""

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import numpy as np

from pipeline.models import resolve
from schemas.errors import SetupError
from stages.diarize import embedding, segmentation
from stages.diarize.config import DiarizeConfig
from stages.quality.config import QualityConfig
from stages.quality.dnsmos import Dnsmos, providers
from stages.quality.pitch import PitchTracker
from stages.stage import SAMPLE_RATE, Samples
from stages.transcribe.config import TranscribeConfig
from stages.transcribe.whisper import WhisperRecogniser
from tests.gpu.check.recordings import speech
from tests.gpu.check.setting import Facts, Setting, apart, at_most

BATCHES = (1, 8, 64)


def measure(setting: Setting) -> Iterator[Facts]:
    samples = np.concatenate(speech(SAMPLE_RATE))
    if setting.tiny:
        samples = samples[: 12 * SAMPLE_RATE]
    for name, step in (
        ("speakers", speakers),
        ("voices", voices),
        ("words", words),
        ("pitch", pitch),
        ("dnsmos", dnsmos),
    ):
        try:
            yield from step(setting, samples)
        except (SetupError, ImportError) as error:
            yield {name: f"can't run: {error}"}


def speakers(setting: Setting, samples: Samples) -> Iterator[Facts]:
    """Segmentation into speakers."""
    path = resolve(DiarizeConfig().segmentation).path
    on_cpu = segmentation.Segmentation(path)(samples)
    model = segmentation.Segmentation(path, setting.device.type)  # type: ignore[arg-type]
    differing = float((model(samples).local != on_cpu.local).mean())
    yield at_most("speakers_frames_other_than_cpu", differing, 1e-3)
    yield from speeds(setting, "speakers", segmentation, lambda: model(samples), len(samples))


def voices(setting: Setting, samples: Samples) -> Iterator[Facts]:
    """Embeddings of pieces."""
    path = resolve(DiarizeConfig().embedding).path
    size = round(embedding.PIECE * SAMPLE_RATE)
    pieces = [samples[start : start + size] for start in range(0, len(samples) - size, size // 4)]
    expected = embedding.SpeakerEmbedding(path)(pieces)
    model = embedding.SpeakerEmbedding(path, setting.device.type)  # type: ignore[arg-type]
    least = float((expected * model(pieces)).sum(axis=1).min())
    yield at_most("voices_distance_to_cpu", 1 - least, 1e-3)
    yield from speeds(setting, "voices", embedding, lambda: model(pieces), sum(map(len, pieces)))


def words(setting: Setting, samples: Samples) -> Iterator[Facts]:
    """Transcription of windows of 5 s, each batch of another size."""
    path = resolve(TranscribeConfig().model).path
    size = 5 * SAMPLE_RATE
    windows = [samples[start : start + size] for start in range(0, len(samples) - size, size)]
    heard = [each.text for each in WhisperRecogniser(path, "cpu", "int8", 5, 1).recognise(windows, "en")]
    kind = "float16" if setting.on_gpu else "int8"
    model = WhisperRecogniser(path, setting.device.type, kind, 5, 1)
    same = [each.text for each in model.recognise(windows, "en")]
    other = sum(a != b for a, b in zip(heard, same, strict=True))
    yield {"words_windows": len(windows), "words_windows_other_than_cpu": other}
    for batch in setting.pick(BATCHES, (1,)):
        many = (windows * batch)[:batch]
        seconds = setting.seconds(lambda many=many: model.recognise(many, "en"), repeats=setting.pick(3, 1))
        yield {f"words_x_real_time_at_{batch}": round(5 * len(many) / seconds, 1)}


def pitch(setting: Setting, samples: Samples) -> Iterator[Facts]:
    path = resolve(QualityConfig().pitch).path
    import torch

    expected = torch.from_numpy(PitchTracker(path).hz(samples))
    tracker = PitchTracker(path, setting.device.type)  # type: ignore[arg-type]
    yield at_most("pitch_apart", apart(expected, torch.from_numpy(tracker.hz(samples))), 1e-2)
    seconds = setting.seconds(lambda: tracker.hz(samples), repeats=setting.pick(3, 1))
    yield {"pitch_x_real_time": round(len(samples) / SAMPLE_RATE / seconds, 1)}


def dnsmos(setting: Setting, samples: Samples) -> Iterator[Facts]:
    folder = resolve(QualityConfig().quality).path
    model = Dnsmos(folder, setting.device.type)  # type: ignore[arg-type]
    yield {"dnsmos_runs_on": providers(setting.device.type)[0]}  # type: ignore[arg-type]
    expected, found = Dnsmos(folder).score(samples), model.score(samples)
    yield at_most("dnsmos_apart", abs(expected.overall - found.overall), 1e-3)
    seconds = setting.seconds(lambda: model.score(samples), repeats=setting.pick(3, 1))
    yield {"dnsmos_x_real_time": round(len(samples) / SAMPLE_RATE / seconds, 1)}


def speeds(
    setting: Setting, name: str, module: Any, work: Callable[[], object], samples: int
) -> Iterator[Facts]:
    """How fast a module works at several batch sizes."""
    for batch in setting.pick(BATCHES, (8,)):
        with patch.dict(module.BATCH, {setting.device.type: batch}):
            seconds = setting.seconds(work, repeats=setting.pick(3, 1))
        yield {f"{name}_x_real_time_at_{batch}": round(samples / SAMPLE_RATE / seconds, 1)}
