"""A chain of stages, from what the recipe says to models: pretrain, sft1, sft2, dpo, merge.

Each stage lies in a folder of its own and is done when its model is there, so that the same command goes on
where it was, and every stage may also run alone.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.recipe import digest
from pipeline.training.backbone import backbone_of
from pipeline.training.checks import check
from pipeline.training.data import DOCUMENTS, VersionData, choose
from pipeline.training.display import Display
from pipeline.training.launch import is_first, launch
from pipeline.training.lineage import note_use
from pipeline.training.place import INDEX, RUN, Place
from pipeline.training.recipe import StageConfig, TrainingRecipe
from pipeline.training.results import Result, result_of
from pipeline.versions.provenance import code_version
from pipeline.versions.reader import Reference, Version, open_version
from schemas.errors import SetupError
from stages.train.config import TrainConfig
from stages.train.progress import ProgressCallback

if TYPE_CHECKING:
    from stages.train.run import Start

MERGE = "merge"


@dataclass(frozen=True)
class Planned:
    """A stage that is to be trained, all that it needs looked up."""

    name: str
    config: StageConfig
    version: Version
    parent: str | None
    """Stage, or place of a checkpoint; None for the recipe's backbone."""
    documents: dict[str, int]
    """What was chosen of the version."""


@dataclass(frozen=True)
class StageJob:
    """One stage, as every process is told of it."""

    config: TrainConfig
    data: VersionData
    start: "Start"
    folder: Path

    def __call__(self, said: ProgressCallback = lambda metrics: None) -> None:
        from stages.train.run import run

        run(self.config, self.data, self.start, self.folder, said)


def train(recipe: TrainingRecipe, only: Sequence[str] = ()) -> list[Result]:
    """Run the stages that are not done yet, all of the chain or `only` some; what each came to.

    Everything that can be wrong is looked at before the first of them starts. Raises SetupError.
    """
    place = Place(recipe)
    names = asked(recipe, only)
    place.check_writable()
    done = {name for name in recipe.chain if place.is_done(name)}
    _refuse_gaps(recipe, names, done)
    planned = [_plan(recipe, name, place) for name in names if name != MERGE]
    check(recipe, planned, place, done)
    display = Display()
    results = []
    for stage in planned:
        if stage.name in done:
            _refuse_another(recipe, stage, place)
            results.append(result_of(stage.name, place, skipped=True))
        else:
            results.append(_run(recipe, stage, place, display))
    if MERGE in names and is_first():
        results.append(_merge(recipe, place, display))
    return results


def asked(recipe: TrainingRecipe, only: Sequence[str]) -> list[str]:
    """Names of the stages to run, in the chain's order; `pretrain` stands for all its mixtures."""
    for name in only:
        if name not in recipe.chain and not (name == "pretrain" and recipe.pretrain):
            raise SetupError(f"the recipe has no stage {name}: it has {', '.join(recipe.chain)}")
    return [
        name
        for name in recipe.chain
        if not only or name in only or ("pretrain" in only and name.startswith("pretrain"))
    ]


def _refuse_gaps(recipe: TrainingRecipe, names: list[str], done: set[str]) -> None:
    """Raise SetupError where a stage needs one that is neither done nor asked for."""
    for name in names:
        start = recipe.start_of(name) if name != MERGE else None
        needed = recipe.merge.weights if recipe.merge and name == MERGE else [start] if start else []
        for before in needed:
            if before in recipe.stages and before not in done and before not in names:
                raise SetupError(f"{name} takes {before}, which is not trained yet: add --stage {before}")


def _plan(recipe: TrainingRecipe, name: str, place: Place) -> Planned:
    config = recipe.stages[name]
    version = open_version(Reference.parse(str(config.dataset)))
    documents = choose(version, config, place.folder / INDEX, place.stage(name))
    return Planned(name, config, version, recipe.start_of(name), documents)


def _run(recipe: TrainingRecipe, stage: Planned, place: Place, display: Display) -> Result:
    from stages.train.run import Start

    folder = place.stage(stage.name)
    identity = _identity(recipe, stage, place)
    data = VersionData(stage.version.store.uri, stage.version.id, folder / DOCUMENTS, identity)
    known = _checkpoint(recipe, stage.parent, place)
    start = Start(checkpoint=known) if known else Start(recipe.backbone.preset, recipe.backbone.seed)
    note_use(stage.version, recipe.name, stage.name, place.store.join(stage.name), identity["code_version"])
    job = StageJob(stage.config.trained, data, start, folder)
    began = time.monotonic()
    with display.stage(stage.name, job.config, folder) as said:
        launch(job, recipe.workers, said)
    seconds = time.monotonic() - began
    if is_first():
        place.publish(stage.name)
    return result_of(stage.name, place, seconds=seconds)


def _checkpoint(recipe: TrainingRecipe, parent: str | None, place: Place) -> Path | None:
    """The weights that a stage begins with; None for random ones."""
    if parent is None:
        return backbone_of(recipe, place)
    return place.model(parent) if parent in recipe.stages else place.checkpoint(parent)


def _identity(recipe: TrainingRecipe, stage: Planned, place: Place) -> dict[str, Any]:
    """What the run's record says besides its settings. The code version is that which began the run."""
    file = place.stage(stage.name) / RUN
    before = json.loads(file.read_text()) if file.exists() else {}
    parent = stage.parent if stage.parent is not None else recipe.backbone.checkpoint
    return {
        "recipe": recipe.name,
        "stage": stage.name,
        "dataset": stage.version.manifest.dataset,
        "version": stage.version.id,
        "quality": sorted(map(list, stage.config.quality.items())),
        "mixture": sorted(map(list, stage.config.mixture.items())),
        "parent": parent or {"preset": recipe.backbone.preset, "seed": recipe.backbone.seed},
        "parent_run": _record_of(place.stage(parent)) if parent in recipe.stages else None,
        "code_version": before.get("code_version", code_version()),
    }


def _record_of(folder: Path) -> str:
    """A hash of what a stage was, which changes with everything before it in the chain."""
    return digest(json.loads((folder / RUN).read_text()))


def _refuse_another(recipe: TrainingRecipe, stage: Planned, place: Place) -> None:
    """Raise SetupError where what is done is not what the recipe asks for."""
    from stages.train.folder import read_record

    there = read_record(place.stage(stage.name))
    known = {**there["config"], **there}
    wanted = {**stage.config.trained.model_dump(mode="json"), **_identity(recipe, stage, place)}
    for name, asked in json.loads(json.dumps(wanted)).items():
        if name in known and known[name] != asked:
            raise SetupError(
                f"{place.stage(stage.name)} was trained with another {name}: {known[name]}, and now it is "
                f"{asked}. Name another output or recipe name, or remove the folder to train it again"
            )


def _merge(recipe: TrainingRecipe, place: Place, display: Display) -> Result:
    from stages.train.merge import RECORD, Part, merge

    assert recipe.merge is not None
    parts = [
        Part(place.model(name) if name in recipe.stages else place.checkpoint(name), weight)
        for name, weight in recipe.merge.weights.items()
    ]
    model = place.model(MERGE)
    if model.exists():
        _refuse_other_parts(json.loads((model / RECORD).read_text()), [asdict(part) for part in parts], model)
        return result_of(MERGE, place, skipped=True)
    display.say(f"{MERGE}: the mean of {', '.join(f'{w:g} {n}' for n, w in recipe.merge.weights.items())}")
    began = time.monotonic()
    record = merge(parts, model)
    (place.stage(MERGE) / RUN).write_text(json.dumps(record, indent=2) + "\n")
    place.publish(MERGE)
    return result_of(MERGE, place, seconds=time.monotonic() - began)


def _refuse_other_parts(record: dict[str, Any], parts: list[dict[str, Any]], model: Path) -> None:
    there = [(Path(part["directory"]), part["weight"]) for part in record["inputs"]]
    wanted = [(part["directory"].resolve(), part["weight"]) for part in parts]
    if there != wanted:
        raise SetupError(
            f"{model} is a merge of others ({', '.join(f'{w:g} {p}' for p, w in there)}): remove it to merge "
            "anew"
        )
