"""The full-size Step-Audio tokenizer: batched against one utterance at a time, in one run.

    python -m tests.benchmarks.bench_tokenizer RECORDING.. [--minutes 1] [--precision bfloat16]

Weights are random (the computation doesn't depend on them); speech is split into utterances of 2 to 16 s.
"One at a time" is the reference in float32: the linguistic branch chunk by chunk, as in the tests, the
semantic branch piece by piece. Times include features and codebooks, but not decoding. The floor is the
time that the counted matrix products would take at the speed of large matrix products in the same
precision, measured in the same run. Codes that differ from the reference are counted.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from schemas.recording import Codes
from stages.gpu import device_of
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.resample import to_16k
from stages.tokenize.step_audio.checkpoint import Checkpoint
from stages.tokenize.step_audio.counts import LEAST_PIECE, PIECE, linguistic_count
from stages.tokenize.step_audio.features import HOP, LogMel
from stages.tokenize.step_audio.linguistic import (
    BACK,
    KEPT,
    NEW,
    WINDOW,
    LinguisticEncoder,
    LinguisticSizes,
)
from stages.tokenize.step_audio.semantic import SemanticEncoder, SemanticSizes
from stages.tokenize.step_audio.tokenizer import StepAudioTokenizer
from stages.tokenize.tokenizer import peak_normalised

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.stages.tokenize.step_audio import oracle

LINGUISTIC = LinguisticSizes(inputs=560, width=512, heads=4, hidden=2048, blocks=50, kernel=11)
SEMANTIC = SemanticSizes(mels=128, width=1280, blocks=6, positions=1500)
CODES = (1024, 4096)
ALONE = "one at a time"
LENGTHS = (2.1, 4.8, 7.4, 3.3, 15.7, 5.2, 9.9, 6.1)
"""Seconds of the utterances, repeated."""


@dataclass(frozen=True)
class Measured:
    """The result for one branch or both, batched or not."""

    what: str
    audio_seconds: float
    wall_seconds: float
    cpu_seconds: float
    gflop_per_audio_second: float
    share_of_floor: float
    peak_gb: float
    """Resident memory on a CPU, allocated memory on a GPU; with weights."""

    def __str__(self) -> str:
        return (
            f"{self.what:27} {self.audio_seconds / self.wall_seconds:8.2f} audio s/s "
            f"{self.cpu_seconds / self.audio_seconds:7.4f} CPU s, {self.gflop_per_audio_second:5.2f} GFLOP "
            f"per audio s, {self.share_of_floor:6.1%} of the floor, {self.peak_gb:5.2f} GB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument(
        "--alone-minutes", type=float, default=0.3, help="minutes for the reference, one at a time"
    )
    parser.add_argument("--precision", default="float32", choices=("float32", "tf32", "bfloat16"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = device_of()
    utterances = speech(arguments.recordings, arguments.minutes)
    few = utterances[: max(1, round(len(utterances) * arguments.alone_minutes / arguments.minutes))]

    with torch.inference_mode():
        checkpoint = random_checkpoint(device, utterances[1])
        exact = StepAudioTokenizer(checkpoint)
        speed = matrix_speed(device, torch.float32)
        linguistic: list[list[int]] = []
        semantic: list[list[int]] = []
        rows = [
            measure(
                f"linguistic, {ALONE}",
                lambda: linguistic.extend(linguistic_alone(checkpoint, few)),
                few,
                speed,
                (1, 0),
            ),
            measure(
                f"semantic, {ALONE}", lambda: semantic.extend(semantic_alone(exact, few)), few, speed, (0, 1)
            ),
        ]
        tokenizer = StepAudioTokenizer(checkpoint, arguments.precision)
        speed = matrix_speed(device, torch.bfloat16 if arguments.precision == "bfloat16" else torch.float32)
        samples = [torch.from_numpy(u).to(device) for u in utterances]
        tokenizer.encode(utterances)  # warm up: kernels are chosen, memory is allocated
        codes: list[Codes] = []
        rows += [
            measure("linguistic, batched", lambda: tokenizer._linguistic(samples), utterances, speed, (1, 0)),
            measure("semantic, batched", lambda: tokenizer._semantic(samples), utterances, speed, (0, 1)),
            measure("both", lambda: codes.extend(tokenizer.encode(utterances)), utterances, speed),
        ]
    for row in rows:
        print(row)
    for name, one, many in (("linguistic", rows[0], rows[2]), ("semantic", rows[1], rows[3])):
        ratio = (one.cpu_seconds / one.audio_seconds) / (many.cpu_seconds / many.audio_seconds)
        walls = (one.wall_seconds / one.audio_seconds) / (many.wall_seconds / many.audio_seconds)
        print(f"{name}: {ratio:.2f} x fewer CPU seconds, {walls:.2f} x faster than one at a time")
    print(f"matrix products: {speed / 1e9:.1f} GFLOP/s in {arguments.precision}; device: {name_of(device)}")
    for name, alone in (("linguistic", linguistic), ("semantic", semantic)):
        batched = [getattr(each, name) for each in codes]
        print(f"{name} codes other than one at a time in float32: {changed(alone, batched)}")
    print(json.dumps([vars(row) for row in rows]), file=sys.stderr)


def random_checkpoint(device: torch.device, samples: Samples) -> Checkpoint:
    """The released sizes with random weights, and centres about what these make of an utterance."""
    torch.manual_seed(0)
    linguistic = LinguisticEncoder(LINGUISTIC).requires_grad_(False).eval()
    semantic = SemanticEncoder(SEMANTIC).requires_grad_(False).eval()
    semantic.positions.copy_(torch.randn(SEMANTIC.positions, SEMANTIC.width) * 0.02)
    checkpoint = Checkpoint(
        linguistic=linguistic.to(device),
        linguistic_centres=torch.zeros(1, LINGUISTIC.width).to(device),
        shift=torch.full((LINGUISTIC.inputs,), -14.0).to(device),
        scale=torch.full((LINGUISTIC.inputs,), 0.19).to(device),
        dither=1.0,
        semantic=semantic.to(device),
        semantic_centres=torch.zeros(1, SEMANTIC.width).to(device),
    )
    heard = torch.from_numpy(samples).to(device)
    linguistic_rows = oracle.encode(checkpoint, oracle.input_rows(checkpoint, heard))
    semantic_rows = semantic(LogMel().to(device)([heard]))[0]
    return replace(
        checkpoint,
        linguistic_centres=spread(linguistic_rows, CODES[0]),
        semantic_centres=spread(semantic_rows, CODES[1]),
    )


def spread(rows: Tensor, count: int) -> Tensor:
    """Random centres with the mean and the variances of rows [n, width]."""
    drawn = torch.randn(count, rows.shape[1]).to(rows.device)
    return rows.mean(dim=0) + drawn * rows.std(dim=0)


def speech(recordings: Sequence[Path], minutes: float) -> list[Samples]:
    """Utterances of `minutes` in total; recordings are repeated if they are too short."""
    heard = []
    for file in recordings:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        heard.append(to_16k(np.ascontiguousarray(samples.T), rate))
    whole = np.resize(np.concatenate(heard), round(minutes * 60 * SAMPLE_RATE))
    lengths = [round(seconds * SAMPLE_RATE) for seconds in LENGTHS]
    ends = np.cumsum(np.resize(lengths, 1 + len(LENGTHS) * len(whole) // sum(lengths)))
    parts = np.split(whole, ends[ends < len(whole)])
    return [peak_normalised(part) for part in parts if len(part) >= lengths[0]]


def linguistic_alone(checkpoint: Checkpoint, utterances: Sequence[Samples]) -> list[list[int]]:
    heard = [torch.from_numpy(samples).to(checkpoint.shift.device) for samples in utterances]
    return [oracle.linguistic_codes(checkpoint, samples) for samples in heard]


def semantic_alone(tokenizer: StepAudioTokenizer, utterances: Sequence[Samples]) -> list[list[int]]:
    heard = [torch.from_numpy(samples).to(tokenizer._device) for samples in utterances]
    return [tokenizer._semantic([samples])[0][0].tolist() for samples in heard]


def measure(
    what: str,
    work: Callable[[], object],
    utterances: Sequence[Samples],
    speed: float,
    branches: tuple[int, int] = (1, 1),
) -> Measured:
    """Run `work` once.

    `speed` is in operations per second; `branches` says which of the two branches are counted.
    """
    operations = sum(
        branches[0] * linguistic_operations(len(u)) + branches[1] * semantic_operations(len(u))
        for u in utterances
    )
    cuda = torch.cuda.is_available()
    reset_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if cuda:
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    seconds = sum(map(len, utterances)) / SAMPLE_RATE
    # On a CPU other load on the machine increases wall time, but not the CPU time of one thread.
    share = operations / speed / (wall if cuda else cpu)
    return Measured(what, seconds, wall, cpu, operations / seconds / 1e9, share, peak_bytes() / 1e9)


def linguistic_operations(samples: int) -> int:
    """Floating point operations of the matrix products, two per multiply-add; whole windows, all keys."""
    rows = linguistic_count(samples)
    d, h = LINGUISTIC.width, LINGUISTIC.hidden
    keys = BACK * KEPT + WINDOW
    first = 3 * LINGUISTIC.inputs * d + d * d + 2 * d * h
    layer = 4 * d * d + 2 * d * h
    each = (
        first + (LINGUISTIC.blocks - 1) * layer + LINGUISTIC.blocks * (2 * keys * d + LINGUISTIC.kernel * d)
    )
    return 2 * (-(-rows // NEW) * WINDOW * each + rows * d * CODES[0])


def semantic_operations(samples: int) -> int:
    total = 0
    d = SEMANTIC.width
    for start in range(0, samples, PIECE):
        length = min(PIECE, samples - start)
        if length >= LEAST_PIECE:
            frames = length // HOP
            half, rows = -(-frames // 2), -(-frames // 4)
            blocks = SEMANTIC.blocks * rows * (12 * d * d + 2 * rows * d)
            total += 2 * (half * 3 * SEMANTIC.mels * d + rows * (3 * d * d + d * CODES[1]) + blocks)
    return total


def matrix_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of large matrix products, best of five."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    a @ b
    times = []
    for _ in range(5):
        start = clock()
        (a @ b)[0, 0].item()
        times.append(clock() - start)
    return 2 * size**3 / min(times)


def changed(expected: Sequence[Sequence[int]], actual: Sequence[Sequence[int]]) -> str:
    """Number of changed codes in the utterances that are in both."""
    pairs = [pair for one, two in zip(expected, actual, strict=False) for pair in zip(one, two, strict=True)]
    return f"{sum(a != b for a, b in pairs)} of {len(pairs)}"


def reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else "CPU, one thread"


if __name__ == "__main__":
    main()
