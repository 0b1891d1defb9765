"""The recipe of a training: on which version, from which weights, which stages and how.

The sections `pretrain`, `sft1`, `sft2`, `dpo` and `merge` that a recipe has are the chain, in this order; one
without settings (`sft1:`) takes the defaults, which are the paper's. What all stages share stands in `train`.
"""

import difflib
from collections.abc import Sequence
from dataclasses import fields
from typing import Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from pipeline.config.yaml_config import Written, beside, read
from pipeline.storage.uri import normal
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

MEASURES = {
    **{field.name: "transcript" for field in fields(Transcript) if field.type in (float, float | None)},
    **{field.name: "assessment" for field in fields(QualityMeasures) if field.type in (float, float | None)},
}
"""Measure of a turn that `quality` can bound -> its column in turns.parquet."""


class BackboneConfig(Config):
    preset: str | None = Field(None, description=f"shape of the model: {', '.join(PRESETS)}")
    checkpoint: str | None = Field(
        None,
        description="folder or URI of weights to begin with (null: random); beside `preset` it must have "
        "that shape",
    )
    seed: int = Field(0, description="of random weights")

    @field_validator("preset")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS:
            raise ValueError(f"there is no preset {value}: one of {', '.join(PRESETS)}")
        return value

    @model_validator(mode="after")
    def _something(self) -> "BackboneConfig":
        if self.preset is None and self.checkpoint is None:
            raise ValueError("name a preset or a checkpoint")
        return self


class WorkersConfig(Config):
    """Processes of a training. More than one are started by Ray Train, here or on RAY_ADDRESS's cluster."""

    count: int = Field(1, gt=0, description="processes; they must divide every stage's `global_batch_size`")
    gpu: bool = Field(False, description="give each a GPU of its own")
    cpus: float = Field(1, gt=0, description="cores of each")
    retries: int = Field(3, ge=0, description="times that workers which died are started again")


class StageConfig(TrainConfig):
    """What a stage that trains says beside its settings of the training itself."""

    dataset: str | None = Field(None, description="another dataset reference than the recipe's")
    start: str | None = Field(
        None, description="a stage of the chain, or a checkpoint's folder or URI (null: the stage before)"
    )
    mixture: dict[str, PositiveFloat] = Field(
        {},
        description="family -> its share of tokens, such as {continuation: 2, replay: 1}: samples over it "
        "are left out, drawn by hash",
    )
    quality: dict[str, float] = Field(
        {},
        description="bounds on measures of the turns that a sample is made of: {dnsmos_overall_min: 3, "
        "average_log_probability_min: -0.5}; a measure that was not taken is no reason",
    )

    @field_validator("quality")
    @classmethod
    def _known_measures(cls, value: dict[str, float]) -> dict[str, float]:
        known = [f"{measure}_{end}" for measure in MEASURES for end in ("min", "max")]
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise ValueError(
                    f"there is no measure `{name}`{f'; did you mean `{near[0]}`?' if near else ''} "
                    f"(the measures, with _min or _max: {', '.join(MEASURES)})"
                )
        return value

    @model_validator(mode="after")
    def _mixture_of_families(self) -> "StageConfig":
        if self.mixture and self.families is not None and set(self.mixture) - set(self.families):
            raise ValueError("`mixture` names a family that `families` doesn't")
        return self

    @property
    def trained(self) -> TrainConfig:
        """The settings of the training itself."""
        return TrainConfig(**{name: getattr(self, name) for name in TrainConfig.model_fields})


class PretrainConfig(StageConfig):
    """A mixture of the pre-training; a recipe may have several, one after another."""

    families: tuple[str, ...] | None = ("continuation", "interleaved", "asr", "tts")


class SFT1Config(StageConfig):
    """All parameters, one epoch over spoken questions with text answers and with spoken ones."""

    families: tuple[str, ...] | None = ("aqta", "aqtaa")


class SFT2Config(StageConfig):
    """The best spoken answers: bound their measures by `quality`, or name a dataset of such ones."""

    families: tuple[str, ...] | None = ("aqtaa",)


class DPOStageConfig(StageConfig):
    """Preference pairs, from the first stage of fine-tuning, audio tokens masked out of the loss."""

    objective: Literal["sft", "dpo"] = "dpo"
    families: tuple[str, ...] | None = ("preference",)
    learning_rate: float = Field(1e-6, gt=0)
    final_learning_rate: float = Field(1e-7, ge=0)


class MergeConfig(Config):
    weights: dict[str, PositiveFloat] = Field(
        {"sft1": 5, "sft2": 5, "dpo": 1},
        description="stage of the chain, or a checkpoint's folder or URI -> its weight in the mean",
    )


class TrainingRecipe(Config):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of the training's folder")
    dataset: str = Field(description="[URI/]NAME[@VERSION|@TAG]; a bare name looks under ./datasets")
    output: str = Field("runs", description="where trainings are kept: a directory, s3:// or gs://")
    scratch: str | None = Field(
        None,
        description="directory for runs whose output is remote (default: the user's cache); all workers must "
        "see it",
    )
    backbone: BackboneConfig
    workers: WorkersConfig = WorkersConfig()
    train: TrainConfig = Field(TrainConfig(), description="settings that all stages share")
    pretrain: tuple[PretrainConfig, ...] = Field((), description="a mixture, or a list of them")
    sft1: SFT1Config | None = None
    sft2: SFT2Config | None = None
    dpo: DPOStageConfig | None = None
    merge: MergeConfig | None = None

    @property
    def stages(self) -> dict[str, StageConfig]:
        """Stages that train, by name, in the order of the chain."""
        number = (lambda n: f"pretrain{n + 1}") if len(self.pretrain) > 1 else (lambda n: "pretrain")
        found: dict[str, StageConfig] = {number(n): stage for n, stage in enumerate(self.pretrain)}
        for name in TRAINED[1:]:
            if (stage := getattr(self, name)) is not None:
                found[name] = stage
        return found

    @property
    def chain(self) -> list[str]:
        """Names of all stages."""
        return [*self.stages, *(["merge"] if self.merge else [])]

    def start_of(self, name: str) -> str | None:
        """The stage, or the place of the checkpoint, that a stage starts from; None for the backbone."""
        stage = self.stages[name]
        if stage.start is not None:
            return stage.start
        before = list(self.stages)[: list(self.stages).index(name)]
        if name == "dpo" and "sft1" in before:
            return "sft1"
        return before[-1] if before else None


def load(
    path: str,
    settings: Sequence[str] = (),
    dataset: str | None = None,
    output: str | None = None,
) -> TrainingRecipe:
    """Read a recipe; `settings` are `a.b=value` overrides, `dataset` stands in for every reference in it.

    Places in the recipe are relative to its own directory. Raises SetupError with file, line and what to
    write instead.
    """
    written = read(path, settings, RENAMED_KEYS)
    if isinstance(written.values.get("pretrain"), dict):
        written.values["pretrain"] = [written.values["pretrain"]]
    _name_defaults(written)
    written.checked(TrainingRecipe)  # before a mistake in `train` stands in every stage
    _share(written)
    recipe = written.checked(TrainingRecipe)
    if not recipe.chain:
        raise SetupError(f"{path}: there is nothing to do: name a stage, such as `sft1:`, or `merge:`")

    def placed(place: str | None) -> str | None:
        return place and (beside(written.file, place) if "/" in place else place)

    def staged(stage: StageConfig) -> StageConfig:
        named = dataset or placed(stage.dataset) or placed(recipe.dataset)
        return stage.model_copy(update={"dataset": named, "start": placed(stage.start)})

    backbone = recipe.backbone
    checkpoint = backbone.checkpoint and beside(written.file, backbone.checkpoint)
    merge = recipe.merge and MergeConfig(weights={str(placed(k)): w for k, w in recipe.merge.weights.items()})
    recipe = recipe.model_copy(
        update={
            "dataset": dataset or placed(recipe.dataset),
            "output": normal(output or beside(written.file, recipe.output)),
            "backbone": backbone.model_copy(update={"checkpoint": checkpoint}),
            "pretrain": tuple(map(staged, recipe.pretrain)),
            **{name: stage and staged(stage) for name in TRAINED[1:] if (stage := getattr(recipe, name))},
            "merge": merge,
        }
    )
    _refuse_unknown_stages(path, recipe)
    return recipe


def _name_defaults(written: Written) -> None:
    """`sft1:` without settings is a stage with all its defaults."""
    for name in (*TRAINED, "merge"):
        if name in written.values and written.values[name] is None:
            written.values[name] = [{}] if name == "pretrain" else {}


def _share(written: Written) -> None:
    """Put what stands in `train` into each stage that doesn't say otherwise."""
    values = written.values
    shared = values.get("train") or {}
    values["pretrain"] = [shared | stage for stage in values.get("pretrain", [])]
    values |= {name: shared | values[name] for name in TRAINED[1:] if name in values}


def _refuse_unknown_stages(path: str, recipe: TrainingRecipe) -> None:
    """Raise SetupError for a start, or a part of a merge, that is not in the chain before it."""
    names = list(recipe.stages)
    for at, name in enumerate(names):
        start = recipe.start_of(name)
        if start is not None and "/" not in start and start not in names[:at]:
            raise SetupError(
                f"{path}: {name} starts from {start!r}, which is no stage before it: {names[:at]}"
            )
        Reference.parse(str(recipe.stages[name].dataset))
    for part in recipe.merge.weights if recipe.merge else ():
        if "/" not in part and part not in names:
            raise SetupError(
                f"{path}: merge takes {part!r}, which is no stage of the chain ({', '.join(names)}): set "
                "merge.weights, or name a checkpoint's folder"
            )
