"""A chain of stages, from a recipe to models: pretrain, sft1, sft2, dpo, merge.

Each stage has its own folder and is done when its model exists. The same command therefore resumes a chain,
and every stage can also run alone.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.background import BackgroundLoop
from pipeline.config.recipe import digest
from pipeline.storage.store import Store
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
from pipeline.training.training_folder import MODEL, RUN, TrainingFolder
from pipeline.versions.provenance import code_version, ids_of
from pipeline.versions.reader import Reference, open_version
from schemas.errors import SetupError
from stages.train.config import TrainConfig
from stages.train.progress import ProgressCallback

if TYPE_CHECKING:
    from pipeline.training.answers import AnswersInTraining
    from stages.train.run import Start

MERGE = "merge"
PUSH_SECONDS = 30.0
"""Between uploads of what a stage writes while it trains; before each checkpoint there is another."""


@dataclass(frozen=True)
class StageJob:
    """One stage, as it is passed to every process."""

    recipe: TrainingRecipe
    name: str
    training: TrainingFolder
    dataset: str
    """URI of the version's dataset."""
    version: str
    ids: Mapping[str, Any]
    """What a checkpoint records about the version's ids."""
    identity: Mapping[str, Any]

    @property
    def config(self) -> TrainConfig:
        return self.recipe.stages[self.name].trained

    @property
    def folder(self) -> Path:
        return self.training.stage(self.name)

    @property
    def place(self) -> Store:
        return Store(self.training.store.join(self.name))

    def __call__(self, on_progress: ProgressCallback = lambda metrics: None) -> None:
        from stages.train.run import run
        from stages.train.validation import Validation

        remote = self.training.remote(self.name)
        recipe, folder, evaluate = self.recipe, self.folder, self.recipe.evaluate
        copies = Path(recipe.copy_shards_to).expanduser() if recipe.copy_shards_to else None
        held_out = folder / VALIDATION_DOCUMENTS if self.config.validation else None
        data = VersionData(self.dataset, self.version, folder / DOCUMENTS, self.identity, held_out, copies)
        start = _start(recipe, self.name, self.training)
        answers = _answers(recipe, self.name, self.ids, folder)
        validation = Validation(evaluate.every, answers) if evaluate and answers else None
        on_progress = with_page(on_progress, recipe.name, folder)
        pushing = BackgroundLoop(remote.push, PUSH_SECONDS) if remote and is_first() else nullcontext()
        with pushing:
            run(self.config, data, start, folder, on_progress, validation, remote)
        if remote and is_first():
            self.finish()

    def refresh(self) -> None:
        from stages.train.folder import METRICS, PACKING

        if remote := self.training.remote(self.name):
            remote.pull_changed(METRICS, PACKING)

    def finish(self) -> None:
        """Add to a trained stage what is not of the training itself, where its folder is."""
        write_page(self.recipe.name, self.folder)
        add_tokenizer(self.folder / MODEL)
        self.training.publish(self.name)


def train(recipe: TrainingRecipe, only: Sequence[str] = ()) -> list[StageResult]:
    """Run the stages that are not done yet, the whole chain or `only` some of it, and return their results.

    Everything that can be wrong is checked before the first of them starts. Raises SetupError.
    """
    folder = TrainingFolder(recipe)
    names = selected_stages(recipe, only)
    folder.check_writable()
    done = {name for name in recipe.chain if folder.is_done(name)}
    _refuse_gaps(recipe, names, done)
    with ExitStack() as held:
        for name in names:
            if name not in done and name != MERGE:
                held.enter_context(folder.alone(name))
        return _train(recipe, names, done, folder)


def _train(
    recipe: TrainingRecipe, names: list[str], done: set[str], folder: TrainingFolder
) -> list[StageResult]:
    planned = [_plan(recipe, name, folder) for name in names if name != MERGE]
    check(recipe, planned, folder, done)
    _open_answers(recipe, [stage for stage in planned if stage.name not in done], folder)
    display = TrainingDisplay()
    results = []
    for stage in planned:
        if stage.name in done:
            _refuse_other_settings(recipe, stage, folder)
            results.append(result_of(stage.name, folder, skipped=True))
        else:
            results.append(_run(recipe, stage, folder, display))
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
    documents = choose(version, config, folder.index, folder.stage(name))
    if config.validation and not folder.is_done(name):
        choose_validation(version, name, config, folder.index, folder.stage(name))
    return PlannedTraining(name, config, version, recipe.start_of(name), documents)


def _run(
    recipe: TrainingRecipe, stage: PlannedTraining, folder: TrainingFolder, display: TrainingDisplay
) -> StageResult:
    stage_folder = folder.stage(stage.name)
    identity = _identity(recipe, stage, folder)
    run_uri = folder.store.join(stage.name)
    note_use(stage.version, recipe.name, stage.name, run_uri, identity["code_version"])
    if is_first():
        note_origin(stage.version, stage_folder)
        folder.push(stage.name)
    version = stage.version
    ids = ids_of(version.manifest)
    job = StageJob(recipe, stage.name, folder, version.store.uri, version.id, ids, identity)
    started = time.monotonic()
    with display.stage(stage.name, job.config, stage_folder) as on_progress:
        launch(job, recipe.workers, on_progress)
    seconds = time.monotonic() - started
    if is_first() and folder.store.is_local:
        job.finish()
    return result_of(stage.name, folder, seconds=seconds)


def _open_answers(recipe: TrainingRecipe, stages: Sequence[PlannedTraining], folder: TrainingFolder) -> None:
    """Open once what the answers in training need, so that what is missing is told before anything is
    trained."""
    for stage in stages if is_first() else ():
        if answers := _answers(recipe, stage.name, ids_of(stage.version.manifest), folder.stage(stage.name)):
            answers()


def _answers(
    recipe: TrainingRecipe, name: str, ids: Mapping[str, Any], folder: Path
) -> "AnswersInTraining | None":
    """The answers in training that the recipe asks of a stage."""
    from pipeline.training.answers import ANSWERING, AnswersInTraining
    from stages.train.folder import ANSWERS

    if recipe.evaluate is None or name not in ANSWERING:
        return None
    return AnswersInTraining(recipe.evaluate, folder / ANSWERS, ids)


def _start(recipe: TrainingRecipe, name: str, folder: TrainingFolder) -> "Start":
    """The weights that a stage starts from, on this machine."""
    from stages.train.run import Start

    parent = recipe.start_of(name)
    checkpoint = _checkpoint(recipe, parent, folder) if parent else backbone_of(recipe, folder)
    if checkpoint is None:
        return Start(recipe.backbone.preset, recipe.backbone.seed)
    return Start(checkpoint=checkpoint, origin=_origin(recipe, parent, folder))


def _checkpoint(recipe: TrainingRecipe, name: str, folder: TrainingFolder) -> Path:
    """The folder of a stage's model, or of a checkpoint outside the chain."""
    return folder.model(name) if name in recipe.stages else folder.checkpoint(name)


def _origin(recipe: TrainingRecipe, name: str | None, folder: TrainingFolder) -> str | None:
    """What records call the checkpoint of that name, None for the backbone. Where the output is a bucket, its
    folder is a copy that another machine has elsewhere; the folder of any other is its name."""
    if folder.store.is_local:
        return None
    return folder.model_uri(name) if name in recipe.stages else name or recipe.backbone.checkpoint


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
        "parent_run": _record_digest(folder.store, parent) if parent in recipe.stages else None,
        "code_version": existing.get("code_version", code_version()),
    }


def _record_digest(training: Store, stage: str) -> str:
    """A hash of a stage's record as it was written, which changes with everything before it in the chain."""
    return digest(json.loads(training.get(f"{stage}/{RUN}")))


def _refuse_other_settings(recipe: TrainingRecipe, stage: PlannedTraining, folder: TrainingFolder) -> None:
    """Raise SetupError if a finished stage is not what the recipe describes."""
    from stages.train.folder import read_record, recorded

    record = read_record(folder.stage(stage.name))
    trained = {**record["config"], **record}
    wanted = {**recorded(stage.config.trained), **_identity(recipe, stage, folder)}
    for name, value in json.loads(json.dumps(wanted)).items():
        if name in trained and trained[name] != value:
            raise SetupError(
                f"{folder.stage_uri(stage.name)} was trained with another {name}: {trained[name]}, and now "
                f"it is {value}. Choose another output or recipe name, or remove it to train it again"
            )


def _merge(recipe: TrainingRecipe, folder: TrainingFolder, display: TrainingDisplay) -> StageResult:
    from stages.train.merge import WeightedCheckpoint, merge

    assert recipe.merge is not None
    weights = recipe.merge.weights
    if folder.is_done(MERGE):
        _refuse_other_inputs(recipe, weights, folder)
        return result_of(MERGE, folder, skipped=True)
    inputs = [
        WeightedCheckpoint(_checkpoint(recipe, name, folder), weight, _origin(recipe, name, folder))
        for name, weight in weights.items()
    ]
    display.print(f"{MERGE}: the mean of {', '.join(f'{weights[name]:g} {name}' for name in weights)}")
    started = time.monotonic()
    model = folder.stage(MERGE) / MODEL
    record = merge(inputs, model)
    add_tokenizer(model)
    (folder.stage(MERGE) / RUN).write_text(json.dumps(record, indent=2) + "\n")
    folder.publish(MERGE)
    return result_of(MERGE, folder, seconds=time.monotonic() - started)


def _refuse_other_inputs(
    recipe: TrainingRecipe, weights: Mapping[str, float], folder: TrainingFolder
) -> None:
    """Raise SetupError if a finished merge is not what the recipe describes."""
    from stages.train.merge import RECORD

    record = json.loads(folder.store.get(f"{MERGE}/{MODEL}/{RECORD}"))
    merged = [(each["directory"], each["weight"]) for each in record["inputs"]]
    same = len(merged) == len(weights) and all(
        there == weight and _is_recorded(as_recorded, recipe, name, folder)
        for (as_recorded, there), (name, weight) in zip(merged, weights.items(), strict=True)
    )
    if not same:
        raise SetupError(
            f"{folder.model_uri(MERGE)} is a merge of other checkpoints "
            f"({', '.join(f'{w:g} {path}' for path, w in merged)}): remove it to merge again"
        )


def _is_recorded(recorded: str, recipe: TrainingRecipe, name: str, folder: TrainingFolder) -> bool:
    """Whether the record of a merge means the checkpoint of that name. Where the output is a bucket, an
    earlier release recorded the folder of a copy, in its `scratch`, not what is copied."""
    origin = _origin(recipe, name, folder)
    if recorded == origin:
        return True
    if origin is None or not (name in recipe.stages or name.startswith(("s3://", "gs://"))):
        return recorded == str(_checkpoint(recipe, name, folder).resolve())
    copies = folder.copies
    copy = copies.path(folder.store.uri) / name / MODEL if name in recipe.stages else copies.path(name)
    return recorded.endswith(f"/{copy.relative_to(folder.scratch)}")
