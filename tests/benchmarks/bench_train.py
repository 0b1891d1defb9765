"""Training of a preset on one device: fused attention and loss against plain ones, in one run.

    python tests/benchmarks/bench_train.py DATASET                                   # step1-3b on a GPU
    python tests/benchmarks/bench_train.py DATASET --preset tiny --device cpu        # does it run at all?

DATASET is a reference of a version, such as datasets/demo@latest; its documents are packed as training packs
them. First the paths that are timed are held against dense attention and plain cross entropy on the CPU, in
float32: losses, and gradients where the device has them (FlexAttention has no backward on CPUs). Then the
engine takes steps of SFT and of DPO in either form, from the same weights on the same sequences; losses of
both are told beside their speed. Plain is SDPA with the whole bias in memory, and logits of all targets.

MFU counts what attention within documents needs, forward and backward, nothing twice, over the dense peak of
the device in bfloat16 (989 TFLOP/s for an H100). Nothing is timed that a step doesn't do: no checkpoints.
"""

import argparse
import gc
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
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
from stages.train.loop import Trainer, TrainingData
from stages.train.loss import token_losses
from stages.train.model import Step1, dense_attention, flex_attention_for
from stages.train.packing import pack
from stages.train.parallel import joined, parallelize
from stages.train.plan import memory_of
from stages.train.shape import PRESETS, Shape

WARM_UP = 3
"""Steps that are not timed: kernels are compiled in them."""
CHECKED = 1024
"""Tokens of the sequence that is held against the CPU."""
ALLOWED = 1e-3
"""Largest difference of a loss, and of a gradient relative to its norm, in float32."""


@dataclass(frozen=True)
class Measured:
    objective: str
    form: str
    tokens_per_second: float
    mfu: float | None
    peak_gb: float
    """Allocated on a GPU; on a CPU the process's most so far."""
    losses: tuple[float, ...]
    """Of all steps."""

    def __str__(self) -> str:
        mfu = "" if self.mfu is None else f", MFU {self.mfu:.1%}"
        return (
            f"{self.objective:4} {self.form:6} {self.tokens_per_second:10,.0f} tokens/s{mfu}, "
            f"{self.peak_gb:.1f} GB, loss {self.losses[0]:.4f} .. {self.losses[-1]:.4f}"
        )


class Enough(Exception):  # noqa: N818 (no error)
    """All steps that are timed are done."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", type=Reference.parse)
    parser.add_argument("--preset", choices=PRESETS, default="step1-3b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--length", type=int, help="tokens of a sequence (8192; tiny 1024)")
    parser.add_argument("--batch", type=int, default=4, help="sequences of a step, one after another")
    parser.add_argument("--steps", type=int, default=8, help="timed")
    parser.add_argument("--keep-activations", action="store_true", help="keep all, where memory allows it")
    parser.add_argument("--objective", choices=("sft", "dpo"), nargs="+", default=("sft", "dpo"))
    parser.add_argument("--json", type=Path, help="write what was measured")
    asked = parser.parse_args()
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        parser.error("there is no CUDA device: --device cpu --preset tiny shows that the benchmark runs")
    asked.length = asked.length or (1024 if asked.preset == "tiny" else 8192)
    name = torch.cuda.get_device_name() if asked.device == "cuda" else "CPU"
    print(f"{asked.preset} on {name}, {asked.batch} sequences of {asked.length:,} tokens a step")
    with tempfile.TemporaryDirectory() as folder:
        version = open_version(asked.dataset)
        if not held_against_cpu(opened(version, "sft", CHECKED, 40_000, Path(folder)), asked.device):
            sys.exit(1)
        found = []
        for objective in asked.objective:
            enough = asked.length * asked.batch * (asked.steps + WARM_UP)
            data = opened(version, objective, asked.length, enough, Path(folder))
            for form in ("plain", "fused"):
                try:
                    found.append(measured(objective, form, data, asked))
                    print(found[-1])
                except torch.cuda.OutOfMemoryError as error:
                    print(f"{objective:4} {form:6} out of memory: {str(error).splitlines()[0]}")
                gc.collect()
                torch.cuda.empty_cache()
            told_apart(found, objective)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n")


def opened(version: Version, objective: str, length: int, tokens: int, folder: Path) -> TrainingData:
    """The first documents of a version that an objective learns from and that fit into a sequence, with
    about so many tokens."""
    table = indexed(version, folder / "index")
    fits = table["length"].to_numpy() <= length
    wanted = np.flatnonzero(fits & ((table["n_2"].to_numpy() > 0) == (objective == "dpo")))
    total = np.cumsum(table["length"].to_numpy()[wanted])
    table = table.take(wanted[: int(np.searchsorted(total, tokens)) + 1])
    if not table.num_rows:
        raise SetupError(f"{version.uri} has nothing that {objective} learns from in {length} tokens")
    file = folder / f"{objective}-{tokens}.arrow"
    with pa.ipc.new_file(str(file), table.schema) as out:
        out.write_table(table.combine_chunks())
    return VersionData(version.store.uri, version.id, file, {})()


def measured(objective: str, form: str, data: TrainingData, asked: argparse.Namespace) -> Measured:
    """Steps of the engine itself, without what it does between them."""
    config = TrainConfig(
        objective=objective,
        sequence_length=asked.length,
        global_batch_size=asked.batch,
        precision="bfloat16" if asked.device == "cuda" else "float32",
        activation_checkpointing=not asked.keep_activations,
        steps=1_000_000,
        checkpoint_every=1_000_000,
        warmup=0,
    )
    shape = PRESETS[asked.preset].with_vocabulary(-(-data.vocabulary["size"] // 64) * 64)
    if form == "plain":
        print(f"{objective}: planned {memory_of(shape, config, 1, asked.device == 'cuda').line()}")
    lines: list[dict[str, Any]] = []

    def said(metrics: dict[str, Any]) -> None:
        lines.append(metrics)
        if len(lines) == WARM_UP + asked.steps:
            raise Enough

    with ExitStack() as stack:
        stack.enter_context(plain_forms() if form == "plain" else ExitStack())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = stack.enter_context(joined(1))
        with torch.device("meta"):
            model = Step1(shape)
        parallelize(model, world, config)
        model.to_empty(device=world.device)
        if asked.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with suppress(Enough):
            Trainer(config, data, model, folder, world).finish(lambda: filled(model), said)
    timed = lines[WARM_UP:]
    seconds = [line["tokens"] / line["tokens_per_second"] for line in timed]
    mfu = None
    if all("mfu" in line for line in timed):
        mfu = float(np.average([line["mfu"] for line in timed], weights=seconds))
    speed = sum(line["tokens"] for line in timed) / sum(seconds)
    return Measured(objective, form, speed, mfu, peak_gb(), tuple(line["loss"] for line in lines))


def filled(model: Step1) -> str:
    model.initialise(0)
    return "random"


@contextmanager
def plain_forms() -> Iterator[None]:
    """The model with the whole bias and all logits in memory."""
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


def told_apart(found: list[Measured], objective: str) -> None:
    """How far the losses of both forms, which began with the same weights, went apart."""
    plain, fused = (
        [row for row in found if (row.objective, row.form) == (objective, f)] for f in ("plain", "fused")
    )
    if plain and fused:
        apart = max(abs(a - b) / abs(a) for a, b in zip(plain[0].losses, fused[0].losses, strict=True))
        faster = fused[0].tokens_per_second / plain[0].tokens_per_second
        print(f"{objective}: fused is {faster:.2f} x as fast; losses at most {apart:.2e} apart")


def held_against_cpu(data: TrainingData, device: str) -> bool:
    """Losses and gradients of a small model on real documents, fused on the device and plain on the CPU."""
    shape = replace(PRESETS["tiny"], heads=6, groups=2, hidden=96).with_vocabulary(data.vocabulary["size"])
    batch = first_sequence(data.documents, CHECKED, data.vocabulary["specials"]["pad"])
    torch.set_float32_matmul_precision("highest")
    with plain_forms():
        expected = losses_and_gradients(shape, batch, "cpu")
    good = True
    if device == "cpu":
        states, losses = attention_on_cpu(shape, batch)
        good &= said("FlexAttention forward, uncompiled", states)
        good &= said("losses, fused", losses)
    with patch.object(model_file, "attention_for", dense_attention) if device == "cpu" else ExitStack():
        found = losses_and_gradients(shape, batch, device)
    good &= said(f"losses on {device}", difference(expected[0], found[0]))
    apart = [relative(a, b) for a, b in zip(expected[1], found[1], strict=True)]
    return said(f"gradients on {device}", max(apart)) and good


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
    """Largest differences of what the head reads, dense against Flex, and of losses, fused against plain."""
    model = Step1(shape)
    model.initialise(0)
    dense = model.model(batch.tokens_BL, batch.documents_BL)
    with patch.object(model_file, "attention_for", lambda d, s: flex_attention_for(d, s, compiled=False)):
        flex = model.model(batch.tokens_BL, batch.documents_BL)
    x, head = dense.flatten(0, 1)[batch.at_N], model.lm_head.weight
    fused, plain = (form(x, head, batch.targets_N) for form in (token_losses, plain_losses))
    return difference(dense, flex), difference(fused, plain)


def first_sequence(documents: Documents, length: int, pad: int) -> Batch:
    """One sequence of real documents, as they are packed."""
    packing = pack(documents.lengths, length, seed=0)
    if not packing.sequences:
        raise SetupError(f"the version has no document of at most {length} tokens")
    entries = packing.documents(0)
    return batch_of([[part for entry in entries for part in documents.read(int(entry))]], length, pad)


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / a.norm().clamp(min=1e-12))


def said(what: str, apart: float) -> bool:
    good = apart < ALLOWED
    print(f"{what}: {apart:.1e} apart{'' if good else f', more than {ALLOWED}: WRONG'}")
    return good


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        sys.exit(str(error))
