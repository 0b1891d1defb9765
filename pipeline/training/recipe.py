"""The recipe of a training: dataset version, initial weights, stages and their settings.

The sections `pretrain`, `sft1`, `sft2`, `dpo` and `merge` that a recipe has are the chain, in this order. A
section without settings (`sft1:`) uses the defaults, which are the paper's. `train` has the settings that all
stages share.
"""

import difflib
from collections.abc import Sequence
from dataclasses import fields
from typing import Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from pipeline.config.yaml_config import YamlSettings, beside, read_yaml
from pipeline.evaluation.answers.benchmark import benchmark_beside
from pipeline.models import is_reference
from pipeline.storage.uri import normalize_uri
from pipeline.versions.reader import Reference
from schemas.errors import SetupError
from schemas.recording import QualityMeasures, Transcript
from stages.stage import Config
from stages.train.config import RENAMED_SETTINGS, TrainConfig
from stages.train.shape import PRESETS

TRAINED = ("pretrain", "sft1", "sft2", "dpo")
"""Sections of stages that train, in the order of the chain."""
RENAMED_KEYS = {
    f"{section}.{old}": new for section in ("train", *TRAINED) for old, new in RENAMED_SETTINGS.items()
}
"""Old name of a recipe key -> its new name in the same section."""

NOT_FOR_DPO = ("learning_rate", "final_learning_rate")
"""Settings of `train` that don't apply to `dpo`: its rates are far lower than those of other stages."""

MEASURES = {
    **{field.name: "transcript" for field in fields(Transcript) if field.type in (float, float | None)},
    **{field.name: "assessment" for field in fields(QualityMeasures) if field.type in (float, float | None)},
}
"""Measure of a turn that `quality` can bound -> its column in turns.parquet."""


class BackboneConfig(Config):
    preset: str | None = Field(None, description=f"shape of the model: {', '.join(PRESETS)}")
    checkpoint: str | None = Field(
        None,
        description="folder, URI or reference (hub:ORG/NAME, step-audio-tts-3b) of initial weights (null: "
        "random); with `preset` as well, it must have that shape",
    )
    seed: int = Field(0, description="seed of random weights")

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS:
            raise ValueError(f"there is no preset {value}: choose one of {', '.join(PRESETS)}")
        return value

    @model_validator(mode="after")
    def _has_weights(self) -> "BackboneConfig":
        if self.preset is None and self.checkpoint is None:
            raise ValueError("name a preset or a checkpoint")
        return self


class WorkersConfig(Config):
    """Processes of a training. More than one are started by Ray Train, on this machine or on the cluster of
    RAY_ADDRESS."""

    count: int = Field(
        1, gt=0, description="number of processes; must divide every stage's `global_batch_size`"
    )
    gpu: bool = Field(False, description="give each process its own GPU")
    cpus: float = Field(1, gt=0, description="cores per process")
    retries: int = Field(3, ge=0, description="how often workers that died are restarted")


class StageConfig(TrainConfig):
    """Settings of a stage: its data and start, in addition to those of the training itself."""

    dataset: str | None = Field(None, description="dataset reference (null: the recipe's)")
    start: str | None = Field(
        None, description="a stage of the chain, or a checkpoint's folder or URI (null: the previous stage)"
    )
    mixture: dict[str, PositiveFloat] = Field(
        {},
        description="family -> its share of tokens, such as {continuation: 2, replay: 1}; samples above it "
        "are left out, chosen by hash",
    )
    quality: dict[str, float] = Field(
        {},
        description="bounds on measures of the turns that a sample is made of: {dnsmos_overall_min: 3, "
        "average_log_probability_min: -0.5}; a missing measure is accepted",
    )

    @field_validator("quality")
    @classmethod
    def _known_measures(cls, value: dict[str, float]) -> dict[str, float]:
        names = [f"{measure}_{end}" for measure in MEASURES for end in ("min", "max")]
        for name in value:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                raise ValueError(
                    f"there is no measure `{name}`{f'; did you mean `{near[0]}`?' if near else ''} "
                    f"(the measures, with _min or _max: {', '.join(MEASURES)})"
                )
        return value

    @model_validator(mode="after")
    def _mixture_of_families(self) -> "StageConfig":
        if self.mixture and self.families is not None and set(self.mixture) - set(self.families):
            raise ValueError("`mixture` names a family that `families` doesn't have")
        return self

    @property
    def trained(self) -> TrainConfig:
        """The settings of the training itself."""
        return TrainConfig(**{name: getattr(self, name) for name in TrainConfig.model_fields})


class PretrainConfig(StageConfig):
    """One mixture of pre-training; a recipe may have several, which run one after another."""

    families: tuple[str, ...] | None = Field(
        ("continuation", "interleaved", "asr", "tts"),
        description="only samples of these families (null: all)",
    )


class SFT1Config(StageConfig):
    """All parameters, one epoch over spoken questions with text answers and with spoken answers."""

    families: tuple[str, ...] | None = Field(
        ("aqta", "aqtaa"), description="only samples of these families (null: all)"
    )


class SFT2Config(StageConfig):
    """The best spoken answers: bound their measures with `quality`, or name a dataset of such answers."""

    families: tuple[str, ...] | None = Field(
        ("aqtaa",), description="only samples of these families (null: all)"
    )


class DPOStageConfig(StageConfig):
    """Preference pairs, starting from sft1, with audio tokens masked out of the loss."""

    objective: Literal["sft", "dpo"] = Field("dpo", description="`dpo` trains on preference pairs")
    families: tuple[str, ...] | None = Field(
        ("preference",), description="only samples of these families (null: all)"
    )
    learning_rate: float = Field(1e-6, gt=0, description="peak learning rate, after the warm-up")
    final_learning_rate: float = Field(1e-7, ge=0, description="at the end of the cosine schedule")


class MergeConfig(Config):
    weights: dict[str, PositiveFloat] = Field(
        {"sft1": 5, "sft2": 5, "dpo": 1},
        description="stage of the chain, or a checkpoint's folder or URI -> its weight in the mean",
    )


class ValidationConfig(Config):
    """A small benchmark that sft1, sft2 and dpo answer while they train, judged by rules. It changes nothing
    of what is trained."""

    every: int = Field(500, gt=0, description="steps between evaluations; the last step always has one")
    benchmark: str = Field("builtin", description="`builtin`, or rows in a file, a folder or a prefix")
    limit: int | None = Field(2, gt=0, description="rows of each dimension (null: all)")
    max_tokens: int = Field(256, gt=0, description="end an answer after this many tokens")
    temperature: float = Field(0, ge=0, le=2, description="0 always takes the most likely token")
    seed: int = Field(0, ge=0, description="seed of the sampling, if it draws")
    speak: bool = Field(
        False, description="speak the answers and judge what is heard instead of what is written: slower"
    )
    vocoder: str | None = Field(None, description="folder of the vocoder that speaks (null: the bundled one)")


class TrainingRecipe(Config):
    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of the training, and of its folder"
    )
    dataset: str = Field(description="[URI/]NAME[@VERSION|@TAG]; a bare name looks under ./datasets")
    output: str = Field("runs", description="where trainings are stored: a directory, s3:// or gs://")
    scratch: str | None = Field(
        None,
        description="directory on each node's own disk for what it needs of a remote output or checkpoint "
        "(default: user's cache)",
    )
    copy_shards_to: str | None = Field(
        None,
        description="directory on each node's own disk that shards are copied to before a stage reads them, "
        "such as /scratch/shards (null: documents are read one by one from where the dataset is)",
    )
    backbone: BackboneConfig = Field(description="shape and initial weights of the model")
    workers: WorkersConfig = Field(WorkersConfig(), description="processes of the training")
    train: TrainConfig = Field(
        TrainConfig(), description="settings that all stages share, but for the learning rates of dpo"
    )
    pretrain: tuple[PretrainConfig, ...] = Field((), description="a mixture, or a list of them")
    sft1: SFT1Config | None = Field(None, description="fine-tuning, stage 1")
    sft2: SFT2Config | None = Field(None, description="fine-tuning, stage 2")
    dpo: DPOStageConfig | None = Field(None, description="direct preference optimization")
    merge: MergeConfig | None = Field(None, description="weighted average of the stages' weights")
    evaluate: ValidationConfig | None = Field(None, description="answers of the model while it trains")

    @property
    def stages(self) -> dict[str, StageConfig]:
        """Stages that train, by name, in the order of the chain."""
        number = (lambda n: f"pretrain{n + 1}") if len(self.pretrain) > 1 else (lambda n: "pretrain")
        stages: dict[str, StageConfig] = {number(n): stage for n, stage in enumerate(self.pretrain)}
        for name in TRAINED[1:]:
            if (stage := getattr(self, name)) is not None:
                stages[name] = stage
        return stages

    @property
    def chain(self) -> list[str]:
        """Names of all stages."""
        return [*self.stages, *(["merge"] if self.merge else [])]

    def start_of(self, name: str) -> str | None:
        """The stage, or the path or URI of a checkpoint, that a stage starts from; None for the backbone."""
        stage = self.stages[name]
        if stage.start is not None:
            return stage.start
        previous = list(self.stages)[: list(self.stages).index(name)]
        if name == "dpo" and "sft1" in previous:
            return "sft1"
        return previous[-1] if previous else None


def load(
    path: str,
    settings: Sequence[str] = (),
    dataset: str | None = None,
    output: str | None = None,
) -> TrainingRecipe:
    """Read a recipe. `settings` are `a.b=value` overrides, `dataset` replaces every dataset reference in it.

    Paths in the recipe are relative to its directory. Raises SetupError with file, line and what to write
    instead.
    """
    parsed = read_yaml(path, settings, RENAMED_KEYS)
    if isinstance(parsed.values.get("pretrain"), dict):
        parsed.values["pretrain"] = [parsed.values["pretrain"]]
    _name_defaults(parsed)
    parsed.validated(TrainingRecipe)  # reports a mistake in `train` once, not for every stage
    _share(parsed)
    recipe = parsed.validated(TrainingRecipe)
    if not recipe.chain:
        raise SetupError(f"{path}: there is nothing to do: add a stage, such as `sft1:`, or `merge:`")

    def resolved(path: str | None) -> str | None:
        return path and (beside(parsed.file, path) if "/" in path else path)

    def with_paths(stage: StageConfig) -> StageConfig:
        reference = dataset or resolved(stage.dataset) or resolved(recipe.dataset)
        return stage.model_copy(update={"dataset": reference, "start": resolved(stage.start)})

    evaluate = recipe.evaluate
    if evaluate:
        places = {
            "benchmark": benchmark_beside(parsed.file, evaluate.benchmark),
            "vocoder": evaluate.vocoder and beside(parsed.file, evaluate.vocoder),
        }
        evaluate = evaluate.model_copy(update=places)
    backbone = recipe.backbone
    checkpoint = backbone.checkpoint
    if checkpoint and not is_reference(checkpoint):
        checkpoint = beside(parsed.file, checkpoint)
    merge = recipe.merge and MergeConfig(
        weights={str(resolved(k)): w for k, w in recipe.merge.weights.items()}
    )
    recipe = recipe.model_copy(
        update={
            "dataset": dataset or resolved(recipe.dataset),
            "output": normalize_uri(output or beside(parsed.file, recipe.output)),
            "backbone": backbone.model_copy(update={"checkpoint": checkpoint}),
            "pretrain": tuple(map(with_paths, recipe.pretrain)),
            **{name: stage and with_paths(stage) for name in TRAINED[1:] if (stage := getattr(recipe, name))},
            "merge": merge,
            "evaluate": evaluate,
        }
    )
    _refuse_unknown_stages(path, recipe)
    return recipe


def _name_defaults(parsed: YamlSettings) -> None:
    """Make `sft1:` without settings a stage with all defaults, and so for other sections."""
    for name in (*TRAINED, "merge", "evaluate"):
        if name in parsed.values and parsed.values[name] is None:
            parsed.values[name] = [{}] if name == "pretrain" else {}


def _share(parsed: YamlSettings) -> None:
    """Copy the settings of `train` into each stage that doesn't override them."""
    values = parsed.values
    shared = values.get("train") or {}
    values["pretrain"] = [shared | stage for stage in values.get("pretrain", [])]
    values |= {name: shared | values[name] for name in ("sft1", "sft2") if name in values}
    if "dpo" in values:
        of_dpo = {name: value for name, value in shared.items() if name not in NOT_FOR_DPO}
        values["dpo"] = of_dpo | values["dpo"]


def _refuse_unknown_stages(path: str, recipe: TrainingRecipe) -> None:
    """Raise SetupError for a `start` that is not an earlier stage, or a merge of a missing stage."""
    names = list(recipe.stages)
    for index, name in enumerate(names):
        start = recipe.start_of(name)
        if start is not None and "/" not in start and start not in names[:index]:
            raise SetupError(
                f"{path}: {name} starts from {start!r}, which is not an earlier stage: {names[:index]}"
            )
        Reference.parse(str(recipe.stages[name].dataset))
        if start is None and recipe.backbone.checkpoint is None and recipe.stages[name].lora:
            raise SetupError(
                f"{path}: {name} starts from random weights, and `lora` trains adapters for those of a "
                "checkpoint: set it in later stages only, or name backbone.checkpoint"
            )
    for source in recipe.merge.weights if recipe.merge else ():
        if "/" not in source and source not in names:
            raise SetupError(
                f"{path}: merge needs {source!r}, which is not a stage of the chain ({', '.join(names)}): "
                "set merge.weights, or give a checkpoint's folder"
            )
