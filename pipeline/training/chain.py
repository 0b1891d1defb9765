"""A chain of stages, from a recipe to models: pretrain, sft1, sft2, dpo, merge.

Each stage has its own folder and is done when its model exists. The same command therefore resumes a chain,
and every stage can also run alone.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.recipe import digest
from pipeline.training.backbone import backbone_of
from pipeline.training.checks import check
from pipeline.training.data import (
    DOCUMENTS,
    VALIDATION_DOCUMENTS,
    VersionData,
    choose,
    choose_validation,
)
from pipeline.training.display import TrainingDisplay
from pipeline.training.launch import is_first, launch
from pipeline.training.lineage import note_origin, note_use
from pipeline.training.page import with_page, write_page
from pipeline.training.planned_training import PlannedTraining
from pipeline.training.recipe import TrainingRecipe
from pipeline.training.results import StageResult, result_of
from pipeline.training.tokenizer_files import add_tokenizer
from pipeline.training.training_folder import INDEX, RUN, TrainingFolder
from pipeline.versions.provenance import code_version, ids_of
from pipeline.versions.reader import Reference, open_version
from schemas.errors import SetupError
from stages.train.config import TrainConfig
from stages.train.progress import ProgressCallback

if TYPE_CHECKING:
    from stages.train.merge import WeightedCheckpoint
    from stages.train.run import Start
    from stages.train.validation import Validation

MERGE = "merge"


@dataclass(frozen=True)
class StageJob:
    """One stage, as it is passed to every process."""

    config: TrainConfig
    data: VersionData
    start: "Start"
    folder: Path
    validation: "Validation | None" = None

    def __call__(self, on_progress: ProgressCallback = lambda metrics: None) -> None:
        from stages.train.run import run

        run(self.config, self.data, self.start, self.folder, on_progress, self.validation)


def train(recipe: TrainingRecipe, only: Sequence[str] = ()) -> list[StageResult]:
    """Run the stages that are not done yet, the whole chain or `only` some of it, and return their results.

    Everything that can be wrong is checked before the first of them starts. Raises SetupError.
    """
    folder = TrainingFolder(recipe)
    names = selected_stages(recipe, only)
    folder.check_writable()
    done = {name for name in recipe.chain if folder.is_done(name)}
    _refuse_gaps(recipe, names, done)
    planned = [_plan(recipe, name, folder) for name in names if name != MERGE]
    check(recipe, planned, folder, done)
    validations = {each.name: _validation(recipe, each, folder) for each in planned if each.name not in done}
    display = TrainingDisplay()
    results = []
    for stage in planned:
        if stage.name in done:
            _refuse_other_settings(recipe, stage, folder)
            results.append(result_of(stage.name, folder, skipped=True))
        else:
            results.append(_run(recipe, stage, validations[stage.name], folder, display))
    if MERGE in names and is_first():
        results.append(_merge(recipe, folder, display))
    return results


def selected_stages(recipe: TrainingRecipe, only: Sequence[str]) -> list[str]:
    """Names of the stages to run, in the chain's order; `pretrain` selects all its mixtures."""
    for name in only:
        if name not in recipe.chain and not (name == "pretrain" and recipe.pretrain):
            raise SetupError(f"the recipe has no stage {name}: it has {', '.join(recipe.chain)}")
    return [
        name
        for name in recipe.chain
        if not only or name in only or ("pretrain" in only and name.startswith("pretrain"))
    ]


def _refuse_gaps(recipe: TrainingRecipe, names: list[str], done: set[str]) -> None:
    """Raise SetupError if a stage needs one that is neither done nor about to run."""
    for name in names:
        start = recipe.start_of(name) if name != MERGE else None
        needed = recipe.merge.weights if recipe.merge and name == MERGE else [start] if start else []
        for parent in needed:
            if parent in recipe.stages and parent not in done and parent not in names:
                raise SetupError(f"{name} needs {parent}, which is not trained yet: add --stage {parent}")


def _plan(recipe: TrainingRecipe, name: str, folder: TrainingFolder) -> PlannedTraining:
    config = recipe.stages[name]
    version = open_version(Reference.parse(str(config.dataset)))
    documents = choose(version, config, folder.local / INDEX, folder.stage(name))
    if config.validation and not folder.is_done(name):
        choose_validation(version, name, config, folder.local / INDEX, folder.stage(name))
    return PlannedTraining(name, config, version, recipe.start_of(name), documents)


def _run(
    recipe: TrainingRecipe,
    stage: PlannedTraining,
    validation: "Validation | None",
    folder: TrainingFolder,
    display: TrainingDisplay,
) -> StageResult:
    from stages.train.run import Start

    stage_folder = folder.stage(stage.name)
    identity = _identity(recipe, stage, folder)
    validation_documents = stage_folder / VALIDATION_DOCUMENTS if stage.config.validation else None
    data = VersionData(
        stage.version.store.uri,
        stage.version.id,
        stage_folder / DOCUMENTS,
        identity,
        validation_documents,
        Path(recipe.copy_shards_to).expanduser() if recipe.copy_shards_to else None,
    )
    checkpoint = _checkpoint(recipe, stage.parent, folder)
    start = (
        Start(checkpoint=checkpoint) if checkpoint else Start(recipe.backbone.preset, recipe.backbone.seed)
    )
    run_uri = folder.store.join(stage.name)
    note_use(stage.version, recipe.name, stage.name, run_uri, identity["code_version"])
    if is_first():
        note_origin(stage.version, stage_folder)
    job = StageJob(stage.config.trained, data, start, stage_folder, validation)
    started = time.monotonic()
    with display.stage(stage.name, job.config, stage_folder) as on_progress:
        launch(job, recipe.workers, with_page(on_progress, recipe.name, stage_folder))
    seconds = time.monotonic() - started
    if is_first():
        write_page(recipe.name, stage_folder)
        add_tokenizer(folder.model(stage.name))
        folder.publish(stage.name)
    return result_of(stage.name, folder, seconds=seconds)


def _validation(
    recipe: TrainingRecipe, stage: PlannedTraining, folder: TrainingFolder
) -> "Validation | None":
    """The answers in training that the recipe asks of a stage. They are opened here once, so that what is
    missing is told before anything is trained."""
    from pipeline.training.answers import ANSWERING, AnswersInTraining
    from stages.train.folder import ANSWERS
    from stages.train.validation import Validation

    if recipe.evaluate is None or stage.name not in ANSWERING:
        return None
    answers = AnswersInTraining(
        recipe.evaluate, folder.stage(stage.name) / ANSWERS, ids_of(stage.version.manifest)
    )
    if is_first():
        answers()
    return Validation(recipe.evaluate.every, answers)


def _checkpoint(recipe: TrainingRecipe, parent: str | None, folder: TrainingFolder) -> Path | None:
    """The weights that a stage starts from; None for random ones."""
    if parent is None:
        return backbone_of(recipe, folder)
    return folder.model(parent) if parent in recipe.stages else folder.checkpoint(parent)


def _identity(recipe: TrainingRecipe, stage: PlannedTraining, folder: TrainingFolder) -> dict[str, Any]:
    """What the run's record holds besides its settings. The code version is the one that started the run."""
    file = folder.stage(stage.name) / RUN
    existing = json.loads(file.read_text()) if file.exists() else {}
    parent = stage.parent if stage.parent is not None else recipe.backbone.checkpoint
    return {
        "recipe": recipe.name,
        "stage": stage.name,
        "dataset": stage.version.manifest.dataset,
        "version": stage.version.id,
        "quality": sorted(map(list, stage.config.quality.items())),
        "mixture": sorted(map(list, stage.config.mixture.items())),
        "parent": parent or {"preset": recipe.backbone.preset, "seed": recipe.backbone.seed},
        "parent_run": _record_digest(folder.stage(parent)) if parent in recipe.stages else None,
        "code_version": existing.get("code_version", code_version()),
    }


def _record_digest(folder: Path) -> str:
    """A hash of a stage's record as it was written, which changes with everything before it in the chain."""
    return digest(json.loads((folder / RUN).read_text()))


def _refuse_other_settings(recipe: TrainingRecipe, stage: PlannedTraining, folder: TrainingFolder) -> None:
    """Raise SetupError if a finished stage is not what the recipe describes."""
    from stages.train.folder import read_record, recorded

    record = read_record(folder.stage(stage.name))
    trained = {**record["config"], **record}
    wanted = {**recorded(stage.config.trained), **_identity(recipe, stage, folder)}
    for name, value in json.loads(json.dumps(wanted)).items():
        if name in trained and trained[name] != value:
            raise SetupError(
                f"{folder.stage(stage.name)} was trained with another {name}: {trained[name]}, and now it is "
                f"{value}. Choose another output or recipe name, or remove the folder to train it again"
            )


def _merge(recipe: TrainingRecipe, folder: TrainingFolder, display: TrainingDisplay) -> StageResult:
    from stages.train.merge import RECORD, WeightedCheckpoint, merge

    assert recipe.merge is not None
    weights = recipe.merge.weights
    inputs = [
        WeightedCheckpoint(folder.model(name) if name in recipe.stages else folder.checkpoint(name), weight)
        for name, weight in weights.items()
    ]
    model = folder.model(MERGE)
    if model.exists():
        _refuse_other_inputs(json.loads((model / RECORD).read_text()), inputs, model)
        return result_of(MERGE, folder, skipped=True)
    display.print(f"{MERGE}: the mean of {', '.join(f'{weights[name]:g} {name}' for name in weights)}")
    started = time.monotonic()
    record = merge(inputs, model)
    add_tokenizer(model)
    (folder.stage(MERGE) / RUN).write_text(json.dumps(record, indent=2) + "\n")
    folder.publish(MERGE)
    return result_of(MERGE, folder, seconds=time.monotonic() - started)


def _refuse_other_inputs(record: dict[str, Any], inputs: "Sequence[WeightedCheckpoint]", model: Path) -> None:
    merged = [(Path(each["directory"]), each["weight"]) for each in record["inputs"]]
    if merged != [(each.directory.resolve(), each.weight) for each in inputs]:
        raise SetupError(
            f"{model} is a merge of other checkpoints ({', '.join(f'{w:g} {path}' for path, w in merged)}): "
            "remove it to merge again"
        )
