"""Training speed of a preset on one device: fused attention and loss against plain ones, in one run.

    python -m tests.benchmarks.bench_train DATASET                                   # step1-3b on a GPU
    python -m tests.benchmarks.bench_train DATASET --preset tiny --device cpu        # smoke test

DATASET is a dataset reference, such as datasets/demo@latest; its documents are packed as in training. First
the timed code paths are compared with dense attention and plain cross entropy on the CPU in float32: losses
and gradients. On a CPU, where attention is computed by document, the losses of FlexAttention are checked too;
it has no gradients there. Then the trainer takes steps of SFT and of DPO in both forms, from the same weights
on the same sequences, and reports their losses and speed. "Plain" is SDPA with the whole bias in memory and
the logits of all targets.

MFU counts the operations of attention within documents, forward and backward, without recomputation, over
the dense bfloat16 peak of the device (989 TFLOP/s for an H100). Only steps are timed, not checkpoints.
"""

import argparse
import gc
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.training.data import VersionData, indexed
from pipeline.versions.reader import Reference, Version, open_version
from schemas.errors import SetupError
from stages.train import model as model_file
from stages.train.batch import Batch, batch_of
from stages.train.config import TrainConfig
from stages.train.documents import Documents
from stages.train.loop import TrainingData
from stages.train.loss import token_losses
from stages.train.model import Step1, dense_attention, flex_attention_for
from stages.train.packing import pack
from stages.train.plan import memory_of
from stages.train.shape import PRESETS, Shape

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.first_steps import first_steps

WARM_UP = 3
"""Steps that are not timed, in which kernels are compiled."""
CHECKED = 1024
"""Tokens of the sequence that is compared with the CPU."""
TOLERANCE = 1e-3
"""Largest difference of a loss, and of a gradient relative to its norm, in float32."""


@dataclass(frozen=True)
class Measured:
    objective: str
    form: str
    tokens_per_second: float
    mfu: float | None
    peak_gb: float
    """Allocated memory on a GPU; the process's peak so far on a CPU."""
    losses: tuple[float, ...]
    """Of all steps."""

    def __str__(self) -> str:
        mfu = "" if self.mfu is None else f", MFU {self.mfu:.1%}"
        return (
            f"{self.objective:4} {self.form:6} {self.tokens_per_second:10,.0f} tokens/s{mfu}, "
            f"{self.peak_gb:.1f} GB, loss {self.losses[0]:.4f} .. {self.losses[-1]:.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", type=Reference.parse)
    parser.add_argument("--preset", choices=PRESETS, default="step1-3b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="bfloat16 on a GPU, float32 on a CPU"
    )
    parser.add_argument("--length", type=int, help="tokens of a sequence (8192; tiny 1024)")
    parser.add_argument("--batch", type=int, default=4, help="sequences per step, one after another")
    parser.add_argument("--steps", type=int, default=8, help="timed steps")
    parser.add_argument(
        "--keep-activations", action="store_true", help="no activation checkpointing; needs more memory"
    )
    parser.add_argument("--objective", choices=("sft", "dpo"), nargs="+", default=("sft", "dpo"))
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        parser.error("there is no CUDA device; try the benchmark with --device cpu --preset tiny")
    arguments.length = arguments.length or (1024 if arguments.preset == "tiny" else 8192)
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    print(
        f"{arguments.preset} on {name}, {arguments.batch} sequences of {arguments.length:,} tokens per step"
    )
    with tempfile.TemporaryDirectory() as folder:
        version = open_version(arguments.dataset)
        if not matches_cpu(opened(version, "sft", CHECKED, 40_000, Path(folder)), arguments.device):
            sys.exit(1)
        rows = []
        for objective in arguments.objective:
            tokens = arguments.length * arguments.batch * (arguments.steps + WARM_UP)
            data = opened(version, objective, arguments.length, tokens, Path(folder))
            for form in ("plain", "fused"):
                try:
                    rows.append(measured(objective, form, data, arguments))
                    print(rows[-1])
                except torch.cuda.OutOfMemoryError as error:
                    print(f"{objective:4} {form:6} out of memory: {str(error).splitlines()[0]}")
                gc.collect()
                torch.cuda.empty_cache()
            print_comparison(rows, objective)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def opened(version: Version, objective: str, length: int, tokens: int, folder: Path) -> TrainingData:
    """The first documents of a version that suit an objective and fit into a sequence, `tokens` in total."""
    table = indexed(version, folder / "index")
    fits = table["length"].to_numpy() <= length
    wanted = np.flatnonzero(fits & ((table["n_2"].to_numpy() > 0) == (objective == "dpo")))
    total = np.cumsum(table["length"].to_numpy()[wanted])
    table = table.take(wanted[: int(np.searchsorted(total, tokens)) + 1])
    if not table.num_rows:
        raise SetupError(f"{version.uri} has no document for {objective} of at most {length} tokens")
    file = folder / f"{objective}-{tokens}.arrow"
    with pa.ipc.new_file(str(file), table.schema) as out:
        out.write_table(table.combine_chunks())
    return VersionData(version.store.uri, version.id, file, {})()


def measured(objective: str, form: str, data: TrainingData, arguments: argparse.Namespace) -> Measured:
    """Time steps of the trainer, without what it does between them."""
    config = TrainConfig(
        objective=objective,
        sequence_length=arguments.length,
        global_batch_size=arguments.batch,
        precision=arguments.precision or ("bfloat16" if arguments.device == "cuda" else "float32"),
        activation_checkpointing=not arguments.keep_activations,
    )
    shape = PRESETS[arguments.preset].with_vocabulary(-(-data.vocabulary["size"] // 64) * 64)
    if form == "plain":
        print(f"{objective}: planned {memory_of(shape, config, 1, arguments.device == 'cuda').line()}")
    if arguments.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with plain_forms() if form == "plain" else nullcontext():
        lines = first_steps(shape, config, data, WARM_UP + arguments.steps)
    timed = lines[WARM_UP:]
    seconds = [line["tokens"] / line["tokens_per_second"] for line in timed]
    mfu = None
    if all("mfu" in line for line in timed):
        mfu = float(np.average([line["mfu"] for line in timed], weights=seconds))
    speed = sum(line["tokens"] for line in timed) / sum(seconds)
    return Measured(objective, form, speed, mfu, peak_gb(), tuple(line["loss"] for line in lines))


@contextmanager
def plain_forms() -> Iterator[None]:
    """Use dense attention with the whole bias and plain cross entropy with all logits."""
    with (
        patch.object(model_file, "attention_for", dense_attention),
        patch.object(model_file, "token_losses", plain_losses),
    ):
        yield


def plain_losses(x: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy((x @ head.T).float(), targets, reduction="none")


def peak_gb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def print_comparison(rows: list[Measured], objective: str) -> None:
    """Speed and losses of both forms, which start from the same weights."""
    plain, fused = (
        [row for row in rows if (row.objective, row.form) == (objective, f)] for f in ("plain", "fused")
    )
    if plain and fused:
        apart = max(abs(a - b) / abs(a) for a, b in zip(plain[0].losses, fused[0].losses, strict=True))
        faster = fused[0].tokens_per_second / plain[0].tokens_per_second
        print(f"{objective}: fused is {faster:.2f} x as fast; losses differ by at most {apart:.2e}")


def matches_cpu(data: TrainingData, device: str) -> bool:
    """Compare losses and gradients of a small model: fused on the device, plain on the CPU."""
    shape = replace(PRESETS["tiny"], heads=6, groups=2, hidden=96).with_vocabulary(data.vocabulary["size"])
    batch = first_sequence(data.documents, CHECKED, data.vocabulary["specials"]["pad"])
    torch.set_float32_matmul_precision("highest")
    with plain_forms():
        expected = losses_and_gradients(shape, batch, "cpu")
    good = True
    if device == "cpu":
        states, losses = attention_on_cpu(shape, batch)
        good &= within_tolerance("FlexAttention forward, uncompiled", states)
        good &= within_tolerance("losses, fused", losses)
    actual = losses_and_gradients(shape, batch, device)
    good &= within_tolerance(f"losses on {device}", difference(expected[0], actual[0]))
    apart = [relative(a, b) for a, b in zip(expected[1], actual[1], strict=True)]
    return within_tolerance(f"gradients on {device}", max(apart)) and good


def losses_and_gradients(shape: Shape, batch: Batch, device: str) -> tuple[Tensor, list[Tensor]]:
    model = Step1(shape)
    model.initialise(0)
    model, batch = model.to(device), batch.to(device)
    losses = model.losses(batch.tokens_BL, batch.documents_BL, batch.at_N, batch.targets_N)
    losses.mean().backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad.cpu() for parameter in model.parameters() if parameter.grad is not None]
    return losses.detach().cpu(), gradients


@torch.no_grad()
def attention_on_cpu(shape: Shape, batch: Batch) -> tuple[float, float]:
    """Largest differences of the head's input, dense against Flex, and of losses, fused against plain."""
    model = Step1(shape)
    model.initialise(0)
    dense = model.model(batch.tokens_BL, batch.documents_BL)
    with patch.object(model_file, "attention_for", lambda d, s: flex_attention_for(d, s, compiled=False)):
        flex = model.model(batch.tokens_BL, batch.documents_BL)
    x, head = dense.flatten(0, 1)[batch.at_N], model.lm_head.weight
    fused, plain = (form(x, head, batch.targets_N) for form in (token_losses, plain_losses))
    return difference(dense, flex), difference(fused, plain)


def first_sequence(documents: Documents, length: int, pad: int) -> Batch:
    """One sequence of real documents, packed as in training."""
    packing = pack(documents.lengths, length, seed=0)
    if not packing.sequences:
        raise SetupError(f"the version has no document of at most {length} tokens")
    return batch_of([documents.read(packing.documents(0))], length, pad)


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / a.norm().clamp(min=1e-12))


def within_tolerance(what: str, apart: float) -> bool:
    good = apart < TOLERANCE
    print(f"{what}: differ by {apart:.1e}{'' if good else f', more than {TOLERANCE}: WRONG'}")
    return good


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        sys.exit(str(error))
