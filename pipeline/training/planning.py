"""`--plan`: the memory and hours that a training would take, on GPUs that this machine need not have."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow.dataset as ds

from pipeline.models import is_reference
from pipeline.training.chain import MERGE, selected_stages
from pipeline.training.data import SPLIT
from pipeline.training.recipe import StageConfig, TrainingRecipe
from pipeline.training.training_folder import TrainingFolder
from pipeline.versions.reader import Reference, Version, batches, open_version
from schemas.errors import SetupError
from stages.precision import computed_in
from stages.train.plan import (
    MASTER,
    Layout,
    hours,
    kind_of,
    parameters,
    steps_of,
    suggest,
    trained_parameters,
)
from stages.train.shape import PRESETS, Shape

BILLION = 1_000_000_000
DOCUMENT_TOKENS = 1000.0
"""Mean length of a document, if there is no dataset to count."""

PUBLIC = 2
"""Bytes per weight of public checkpoints."""


@dataclass(frozen=True)
class StagePlan:
    stage: str
    dataset: str
    problem: str | None
    """Why the dataset can't be counted; the hours are then for a billion tokens."""
    documents: int
    tokens: int
    global_batch_size: int
    """Sequences per step."""
    tokens_per_step: int
    steps: int
    hours: float
    layout: Layout
    activation_checkpointing: bool
    precision: str
    trained_parameters: int
    """Those of all weights, or of LoRA's adapters."""

    def facts(self) -> dict[str, Any]:
        facts = asdict(self) | {
            "layout": {"gpus": self.layout.devices, "tensor_parallel": self.layout.tensor_parallel}
        }
        facts["layout"] |= {"data": self.layout.data, "fits": self.layout.fits}
        return facts | {"memory_per_gpu": asdict(self.layout.memory) | {"total": self.layout.memory.total}}


@dataclass(frozen=True)
class TrainingPlan:
    name: str
    parameters: int
    backbone_parameters: int
    gpu: str
    mfu: float
    stages: tuple[StagePlan, ...]
    merge_bytes: int | None
    """Size of the merged model; None if the chain has no merge."""

    def facts(self) -> dict[str, Any]:
        return asdict(self) | {"stages": [stage.facts() for stage in self.stages]}

    def text(self) -> str:
        lines = [
            f"{self.name}: {self.parameters:,} parameters, {self.backbone_parameters:,} without embeddings "
            f"and head; hours on {self.gpu} at {self.mfu:.0%} of its peak"
        ]
        for stage in self.stages:
            layout = stage.layout
            recomputed = ", layers computed twice (activation_checkpointing)"
            lines += [
                f"{stage.stage} on {stage.dataset}",
                f"  {layout.devices} GPUs = {layout.tensor_parallel} tensor x {layout.data} FSDP, "
                f"{stage.precision}{recomputed if stage.activation_checkpointing else ''}"
                f"{'' if layout.fits else ': DOES NOT FIT, use more GPUs or shorter sequences'}",
                *(
                    [f"  LoRA: {stage.trained_parameters:,} parameters are trained"]
                    if stage.trained_parameters < self.parameters
                    else []
                ),
                f"  memory per GPU: {layout.memory.total / 1e9:.1f} GB ({layout.memory.line()})",
                f"  {stage.tokens_per_step:,} tokens per step, {stage.steps:,} steps, {stage.tokens:,} "
                f"tokens in {stage.documents:,} documents: {stage.hours:,.2f} hours",
            ]
            if stage.global_batch_size % layout.data:
                lines.append(
                    f"  {layout.data} processes can't share global_batch_size {stage.global_batch_size}: "
                    "make it a multiple"
                )
            if stage.problem:
                lines.append(f"  for a billion tokens, because {stage.problem}")
        if self.merge_bytes:
            lines.append(f"merge: no GPU; writes {self.merge_bytes / 1e9:.1f} GB")
        return "\n".join(lines)


def plan_of(
    recipe: TrainingRecipe, only: Sequence[str], gpus: int | None, gpu: str, mfu: float
) -> TrainingPlan:
    """Starts and writes nothing. Raises SetupError for an unknown stage, checkpoint or kind of GPU."""
    kind = kind_of(gpu)
    if gpus is None and recipe.workers.gpu:
        gpus = recipe.workers.count
    names = selected_stages(recipe, only)
    counted = {name: _counted(recipe.stages[name]) for name in names if name != MERGE}
    shape = _shape(recipe, [version for version, _ in counted.values() if isinstance(version, Version)])
    stages = [_stage_plan(recipe, name, *counted[name], shape, gpus, kind, mfu) for name in counted]
    count, _ = parameters(shape)
    merged = 4 * count if MERGE in names else None
    return TrainingPlan(recipe.name, count, shape.backbone_parameters, kind, mfu, tuple(stages), merged)


def _stage_plan(
    recipe: TrainingRecipe,
    name: str,
    version: Version | str,
    counts: tuple[int, int],
    shape: Shape,
    gpus: int | None,
    kind: str,
    mfu: float,
) -> StagePlan:
    stage = recipe.stages[name]
    stored, is_foreign = _kept(recipe, name)
    lora = stage.lora and stage.lora.decided(is_foreign)
    asked = stage.trained.model_copy(update={"lora": lora})
    config, layout = suggest(shape, asked, kind, gpus, stored)
    documents, tokens = counts
    problem = version if isinstance(version, str) else None if tokens else "the version has no such samples"
    if not tokens:
        documents, tokens = round(BILLION / DOCUMENT_TOKENS), BILLION
    step = config.global_batch_size * config.sequence_length
    steps = steps_of(config, tokens)
    seen = min(tokens * config.epochs, steps * step) if config.steps is None else steps * step
    needed = hours(
        shape, config.model_copy(update={"epochs": 1}), seen, tokens / documents, kind, layout.devices, mfu
    )
    return StagePlan(
        stage=name,
        dataset=str(stage.dataset),
        problem=problem,
        documents=documents,
        tokens=tokens,
        global_batch_size=config.global_batch_size,
        tokens_per_step=step,
        steps=steps,
        hours=round(needed, 4),
        layout=layout,
        activation_checkpointing=config.activation_checkpointing,
        precision=computed_in(config.precision, "cuda"),
        trained_parameters=trained_parameters(shape, config.lora),
    )


def _counted(stage: StageConfig) -> tuple[Version | str, tuple[int, int]]:
    """The version, or why it can't be opened; documents and tokens of the stage's families in it."""
    try:
        version = open_version(Reference.parse(str(stage.dataset)))
    except SetupError as error:
        return str(error), (0, 0)
    families = tuple(stage.mixture) if stage.mixture else stage.families
    where = ds.field("split") == SPLIT
    if families is not None:
        where = where & ds.field("family").isin(families)
    columns = ["text_tokens", "linguistic_tokens", "semantic_tokens"]
    documents = tokens = 0
    with version.table("index") as index:
        for batch in batches(index, columns, where):
            documents += batch.num_rows
            tokens += sum(int(batch[column].to_numpy().sum()) for column in columns)
    return version, (documents, tokens)


def _kept(recipe: TrainingRecipe, name: str) -> tuple[float, bool]:
    """Bytes per weight of what a stage starts from, and whether it is a foreign model."""
    from stages.train.checkpoint import bytes_per_weight, is_step1

    start = recipe.start_of(name)
    if start is not None and start in recipe.stages:
        return MASTER, _kept(recipe, start)[1]  # trained models are written in float32
    checkpoint = start or recipe.backbone.checkpoint
    if checkpoint is None:
        return MASTER, False
    try:
        folder = TrainingFolder(recipe).checkpoint(checkpoint)
        return bytes_per_weight(folder), not is_step1(folder)
    except SetupError:
        return PUBLIC, False  # a plan needs no weights


def _shape(recipe: TrainingRecipe, versions: Sequence[Version]) -> Shape:
    preset = recipe.backbone.preset
    if recipe.backbone.checkpoint is not None:
        from stages.train.checkpoint import read_shape

        try:
            return read_shape(TrainingFolder(recipe).checkpoint(recipe.backbone.checkpoint))
        except SetupError:
            if preset is None or not is_reference(recipe.backbone.checkpoint):
                raise
            return PRESETS[preset]  # a plan needs no weights
    preset = str(preset)
    if not versions:
        return PRESETS[preset]
    from stages.train.run import Start

    return Start(preset=preset).blank(versions[0].manifest.vocabulary["size"]).shape
