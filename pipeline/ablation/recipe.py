"""The recipe of `aqaa-data ablate`: a grid of cells, each with its own settings of build and training.

All cells share one annotation, the benchmark, the seeds and the number of steps.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field, model_validator

from pipeline.config.yaml_config import beside, read_yaml
from pipeline.evaluation.answers.benchmark import benchmark_beside
from pipeline.storage.store import Store
from pipeline.storage.uri import normalize_uri
from schemas.errors import SetupError
from stages.endpoint import EndpointConfig
from stages.stage import Config

_NAME = r"^[a-z0-9][a-z0-9._-]*$"


class CellSettings(Config):
    """Keys of the build recipe and of the training recipe, merged into those."""

    build: dict[str, Any] = Field(
        {}, description="of the build recipe, such as {interleave: {ratio: [3, 5]}}"
    )
    train: dict[str, Any] = Field({}, description="of the training recipe, such as {sft1: {steps: 200}}")

    @property
    def build_settings(self) -> tuple[str, ...]:
        """As `key=value`."""
        return tuple(_settings(self.build))

    @property
    def train_settings(self) -> tuple[str, ...]:
        return tuple(_settings(self.train))


class SharedStages(Config):
    """Stages that are not trained again, because they are the same in another cell."""

    cell: str = Field(description="name of the other cell, which must be trained before")
    stages: tuple[str, ...] = Field(min_length=1, description="such as [pretrain, sft1]")


class CellConfig(CellSettings):
    name: str = Field(pattern=_NAME, description="name of the cell, and of its folder")
    title: str | None = Field(None, description="what the table calls it (null: its name)")
    shares: SharedStages | None = Field(None, description="stages of another cell that this one takes over")
    paper: dict[str, float] = Field({}, description="the paper's numbers: {chat: 4.03, relevance: 0.65}")


class TableConfig(Config):
    title: str = Field(description="what is compared")
    note: str = Field("", description="what can and what can't be read from the table")
    cells: tuple[CellConfig, ...] = Field(min_length=1, description="the rows")


class CodebooksConfig(Config):
    """Two codebooks against one: small models learn to predict each alone and both together, as in `evaluate
    tokens --perplexity`."""

    steps: int = Field(300, gt=0, description="training steps of each of the three models")
    seed: int = Field(0, ge=0, description="of the held-out recordings, weights and intervals")
    note: str = Field("", description="what can and what can't be read from the table")


class BenchmarkConfig(Config):
    """What the model of each cell answers."""

    benchmark: str = Field("builtin", description="`builtin`, or rows in a file, a folder or a prefix")
    limit: int | None = Field(None, gt=0, description="rows of each dimension (null: all)")
    temperature: float = Field(0.7, ge=0, le=2, description="sampling temperature of the answers")
    max_tokens: int = Field(512, gt=0, description="end an answer after this many tokens")
    seed: int = Field(0, ge=0, description="seed of the sampling and of the intervals")
    vocoder: str | None = Field(None, description="folder of the vocoder (null: the bundled one)")
    judge: EndpointConfig | None = Field(
        None, description="a server that grades the answers by chat, relevance and more (null: rules only)"
    )


class AblateRecipe(Config):
    name: str = Field(pattern=_NAME, description="name of the ablation, and of its folder")
    output: str = Field("runs", description="directory for the ablation's folder")
    build: str | None = Field(None, description="build recipe whose annotation every cell packs")
    dataset: str | None = Field(
        None, description="instead of `build`: a version that every cell trains on, [URI/]NAME[@VERSION|@TAG]"
    )
    train: str = Field(description="training recipe of every cell; its stages must have `steps`")
    shared: CellSettings = Field(CellSettings(), description="settings of all cells")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="each cell is trained with each seed")
    evaluate: BenchmarkConfig = Field(BenchmarkConfig(), description="what is answered, and who judges")
    tables: tuple[TableConfig, ...] = Field(min_length=1, description="the grid")
    codebooks: CodebooksConfig | None = Field(
        None, description="two codebooks against one, on the version of the first cell (null: not)"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "AblateRecipe":
        if (self.build is None) == (self.dataset is None):
            raise ValueError("name either `build` or `dataset`")
        names = [cell.name for cell in self.cells]
        for number, cell in enumerate(self.cells):
            if cell.name in names[:number]:
                raise ValueError(f"two cells are named {cell.name}")
            if cell.shares and cell.shares.cell not in names[:number]:
                raise ValueError(
                    f"{cell.name} shares stages of {cell.shares.cell}, which is no cell before it"
                )
            if self.dataset and (cell.build or self.shared.build):
                raise ValueError(
                    f"{cell.name} has settings of a build, but `dataset` names a finished version"
                )
        return self

    @property
    def cells(self) -> list[CellConfig]:
        """Of all tables, in order."""
        return [cell for table in self.tables for cell in table.cells]


def load(path: str, settings: Sequence[str] = (), output: str | None = None) -> AblateRecipe:
    """Read a recipe; paths in it are relative to its directory. Raises SetupError with file, line and key."""
    parsed = read_yaml(path, settings)
    recipe = parsed.validated(AblateRecipe)

    def resolved(place: str | None) -> str | None:
        return place and beside(parsed.file, place)

    output = normalize_uri(output or beside(parsed.file, recipe.output))
    if not Store(output).is_local:
        raise SetupError(
            f"{path}: `output`: ablate needs a directory on this machine, not {output}: name one"
        )
    evaluate, dataset = recipe.evaluate, recipe.dataset
    places = {
        "benchmark": benchmark_beside(parsed.file, evaluate.benchmark),
        "vocoder": resolved(evaluate.vocoder),
    }
    return recipe.model_copy(
        update={
            "output": output,
            "build": resolved(recipe.build),
            "dataset": resolved(dataset) if dataset and "/" in dataset else dataset,
            "train": resolved(recipe.train),
            "evaluate": evaluate.model_copy(update=places),
        }
    )


def _settings(values: dict[str, Any], section: str = "") -> Iterator[str]:
    """Nested settings as `section.key=value`."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _settings(value, f"{section}{key}.")
        else:
            yield f"{section}{key}={json.dumps(value, ensure_ascii=False)}"
