"""Step 2: the step-audio tokenizer of full size, with random weights: codes equal to the CPU's, and speed."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from unittest.mock import patch

import torch

from schemas.recording import Codes
from stages.stage import SAMPLE_RATE
from stages.tokenize.step_audio.checkpoint import Checkpoint
from stages.tokenize.step_audio.tokenizer import StepAudioTokenizer
from tests.benchmarks import bench_tokenizer
from tests.gpu.check.recordings import PATHS
from tests.gpu.check.setting import Facts, Setting


def measure(setting: Setting) -> Iterator[Facts]:
    utterances = bench_tokenizer.speech(PATHS, setting.pick(20.0, 0.3))
    few = utterances[: setting.pick(4, 2)]
    with patch.multiple(bench_tokenizer, **setting.pick({}, small_sizes())), torch.inference_mode():
        made = bench_tokenizer.random_checkpoint(torch.device("cpu"), utterances[0])
    on_cpu = tokenizer(made, torch.device("cpu"), "float32").encode(few)
    exact = tokenizer(made, setting.device, "float32")
    changed = differing(on_cpu, exact.encode(few))
    yield {"codes": sum(map(count, on_cpu)), "codes_other_than_cpu": changed}
    if changed:
        yield {"wrong": f"{changed} codes differ from those of a CPU in float32"}
    alone = [codes for utterance in few for codes in exact.encode([utterance])]
    yield {"codes_other_alone": differing(alone, exact.encode(few))}
    audio = sum(map(len, utterances)) / SAMPLE_RATE
    seconds = setting.seconds(lambda: [exact.encode([utterance]) for utterance in few], repeats=1)
    yield {"one_by_one_x_real_time": round(sum(map(len, few)) / SAMPLE_RATE / seconds, 1)}
    expected = exact.encode(utterances)
    for precision in ("float32", "tf32", "bfloat16"):
        encoder = tokenizer(made, setting.device, precision)
        setting.reset_peak()
        codes = encoder.encode(utterances)
        seconds = setting.seconds(lambda e=encoder: e.encode(utterances), repeats=setting.pick(3, 1))
        yield {
            f"{precision}_x_real_time": round(audio / seconds, 1),
            f"{precision}_codes_changed": differing(expected, codes) / sum(map(count, expected)),
            f"{precision}_peak_gb": setting.peak_gb(),
        }


def small_sizes() -> dict[str, object]:
    return {
        "LINGUISTIC": replace(bench_tokenizer.LINGUISTIC, width=64, hidden=64, blocks=3),
        "SEMANTIC": replace(bench_tokenizer.SEMANTIC, width=64, blocks=1),
    }


def tokenizer(made: Checkpoint, device: torch.device, precision: str) -> StepAudioTokenizer:
    """A tokenizer on a device, with weights of its own: precisions change them."""
    return StepAudioTokenizer(deepcopy(made), precision, device=device.type)  # type: ignore[arg-type]


def count(codes: Codes) -> int:
    return len(codes.linguistic) + len(codes.semantic)


def differing(expected: Sequence[Codes], actual: Sequence[Codes]) -> int:
    """Number of codes that differ."""
    pairs = [
        pair
        for one, two in zip(expected, actual, strict=True)
        for pair in (
            *zip(one.linguistic, two.linguistic, strict=True),
            *zip(one.semantic, two.semantic, strict=True),
        )
    ]
    return sum(a != b for a, b in pairs)
