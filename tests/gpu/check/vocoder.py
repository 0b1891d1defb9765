"""Step 6: speech from tokens by networks with random weights: speed, whole and streamed."""

import time
from collections.abc import Iterator

import torch

from stages.train.vocoder.shape import BLOCK, PRESETS, RATE
from stages.train.vocoder.stream import VocoderStream
from stages.train.vocoder.vocoder import Vocoder
from tests.gpu.check.setting import Facts, Setting, apart, at_most

TOKEN_SECONDS = 0.024


def measure(setting: Setting) -> Iterator[Facts]:
    tokens = torch.randint(
        0, 5120, (setting.pick(420, 30),), generator=torch.Generator().manual_seed(0)
    ).tolist()
    length = len(tokens) * TOKEN_SECONDS
    for name in setting.pick(("demo", "small", "cosyvoice"), ("tiny",)):
        torch.manual_seed(0)
        vocoder = Vocoder.of(PRESETS[name]).eval()
        few = tokens[: 2 * BLOCK]
        expected = vocoder.features(few)
        vocoder = vocoder.to(setting.device)
        yield at_most(f"{name}_mel_apart", apart(expected, vocoder.features(few)), 1e-2)
        seconds = setting.seconds(lambda v=vocoder: v.speak(tokens), repeats=setting.pick(3, 1))
        yield {f"{name}_whole_real_time_factor": round(seconds / length, 4)}
        if PRESETS[name].flow.past is None:
            continue
        whole = vocoder.speak(tokens)
        streamed(vocoder, tokens, setting)  # warm up
        samples, first, seconds = streamed(vocoder, tokens, setting)
        yield {
            f"{name}_streamed_real_time_factor": round(seconds / length, 4),
            f"{name}_first_sound_milliseconds": round(1000 * first, 1),
        }
        yield at_most(f"{name}_streamed_apart", apart(whole, samples), 1e-2)
    yield {"sample_rate": RATE}


def streamed(vocoder: Vocoder, tokens: list[int], setting: Setting) -> tuple[torch.Tensor, float, float]:
    """Samples, seconds of computing until the first of them, and in all; five tokens at a time."""
    stream, pieces, first = VocoderStream(vocoder), [], 0.0
    began = time.perf_counter()
    for start in range(0, len(tokens), 5):
        pieces.append(stream.push(tokens[start : start + 5]))
        if not first and len(pieces[-1]):
            setting.wait()
            first = time.perf_counter() - began
    pieces.append(stream.finish())
    setting.wait()
    return torch.cat(pieces), first, time.perf_counter() - began
