"""Last step: the vocoder `small`, trained from speech with random codes for as long as is left."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.train.vocoder.config import VocoderTrainConfig
from stages.train.vocoder.shape import HOP, RATE, frames_of
from stages.train.vocoder.train import train_vocoder
from stages.train.vocoder.utterances import InMemoryUtterances, VocoderUtterance
from tests.gpu.check.recordings import speech
from tests.gpu.check.setting import Facts, Setting

TOKENS = 120
"""Of an utterance: 2.9 s."""
WARM_UP = 2
"""Steps that are not timed."""
SPARE = 5.0
"""Seconds before the end at which training stops."""


class _OutOfTimeError(Exception):
    pass


def measure(setting: Setting) -> Iterator[Facts]:
    steps: list[dict[str, Any]] = []
    most = setting.pick(1_000_000, WARM_UP + 3)
    config = VocoderTrainConfig(
        preset=setting.pick("small", "tiny"),  # type: ignore[arg-type]
        steps=most,
        global_batch_size=setting.pick(16, 2),
        checkpoint_every=most,
        sample_every=most,
        adversarial_from=1,
        precision="bfloat16" if setting.on_gpu else "float32",
    )

    def stop_in_time(metrics: dict[str, Any]) -> None:
        steps.append(metrics)
        if setting.seconds_left < SPARE:
            raise _OutOfTimeError

    speech = utterances()
    setting.reset_peak()
    with suppress(_OutOfTimeError):
        train_vocoder(
            config, speech, speech, {}, setting.folder / "vocoder", stop_in_time, measure=constant_pitch
        )
    seconds = [float(step["seconds"]) for step in steps[WARM_UP:]]
    yield {"steps": len(steps), "peak_gb": setting.peak_gb()}
    if seconds:
        yield {"seconds_per_step": round(float(np.median(seconds)), 4)}
    for name in ("flow", "mel", "judges"):
        values = [step[name] for step in steps if name in step]
        tenth = max(1, len(values) // 10)
        ends = (values[:tenth], values[-tenth:])
        yield {f"{name}_first_and_last": [round(float(np.mean(part)), 4) for part in ends if part]}


def constant_pitch(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """A pitch of 150 Hz every 10 ms of samples at 16 kHz: tracking it is not what is timed."""
    return np.full(len(samples) // 160 + 1, 150, np.float32)


def utterances() -> InMemoryUtterances:
    """Real speech; the codes are random, so what is learnt of them is by heart."""
    random, size = np.random.default_rng(0), frames_of(TOKENS) * HOP
    found = []
    for number, samples in enumerate(speech(RATE)):
        for start in range(0, len(samples) - size, size):
            codes = random.integers(0, 5120, TOKENS).astype(np.int32)
            found.append(VocoderUtterance(f"{number}-{start}", codes, samples[start : start + size]))
    return InMemoryUtterances(found)
