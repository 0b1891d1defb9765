"""One cell of the grid: its version, its training for each seed, and its answers.

<cell>/seed-0/<training>/<stage>/   as in a training
<cell>/seed-0/evaluation/           every answer, report.html and results.json
<cell>/seed-0/cell.json             the outcome; written last
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.ablation.recipe import AblateRecipe, CellConfig
from pipeline.evaluation.answers.exchange import AnswerSampling
from pipeline.evaluation.answers.judge import CRITERIA
from pipeline.evaluation.answers.kept import write_whole
from pipeline.evaluation.answers.results import AnswersOptions
from pipeline.evaluation.answers.run import evaluate_answers
from pipeline.evaluation.answers.summary import RULES
from pipeline.report.answers import write_report
from pipeline.training.chain import train
from pipeline.training.recipe import TrainingRecipe
from pipeline.training.recipe import load as load_training
from schemas.errors import SetupError

Say = Callable[[str], None]

CELL = "cell.json"
MEASURES = (RULES, "word_errors", "grammar", *CRITERIA)
"""What is kept of each answered row."""
_CONNECTION = {"key_variable", "timeout", "retries", "backoff", "requests_per_minute", "parallel", "budget"}
"""Settings of a judge that change no verdict."""


@dataclass(frozen=True)
class CellOutcome:
    """A cell with one seed."""

    cell: str
    seed: int
    version: str
    """As a dataset reference."""
    model: str
    """Folder of the checkpoint that answered."""
    evaluation: str
    """Folder with its report."""
    steps: dict[str, int]
    """Stage -> steps."""
    seconds: float
    """Of the stages that were trained for this outcome."""
    rows: dict[str, dict[str, float]]
    """Measure -> row -> value; a row that has no value is missing."""


class CellRun:
    """A cell with one seed. Raises SetupError for a training that doesn't fit."""

    def __init__(
        self, recipe: AblateRecipe, cell: CellConfig, seed: int, folder: Path, benchmark_version: str
    ) -> None:
        """`folder` is that of the ablation."""
        self._recipe, self.cell, self.seed, self._benchmark_version = recipe, cell, seed, benchmark_version
        self._ablation, self.folder = folder, _folder(folder, cell.name, seed)

    def outcome(self) -> CellOutcome | None:
        """None if the cell is not finished."""
        file = self.folder / CELL
        return CellOutcome(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None

    def training(self, version: str) -> TrainingRecipe:
        """The training recipe of the cell. Raises SetupError that names the cell."""
        shared, own = self._recipe.shared.train_settings, self.cell.train_settings
        seeds = (f"train.seed={self.seed}", f"backbone.seed={self.seed}")
        try:
            recipe = load_training(self._recipe.train, (*shared, *own, *seeds), version, str(self.folder))
        except SetupError as error:
            raise SetupError(f"cell {self.cell.name}: {error}") from None
        for name, stage in recipe.stages.items():
            if stage.steps is None:
                raise SetupError(
                    f"cell {self.cell.name}: {name} has no `steps`, so that cells with more tokens would be "
                    f"trained for longer: set `shared.train.{name}.steps`"
                )
        for name in self.cell.shares.stages if self.cell.shares else ():
            if name not in recipe.chain:
                raise SetupError(
                    f"cell {self.cell.name}: `shares` names {name}, but its training has only "
                    f"{', '.join(recipe.chain)}"
                )
        return recipe

    def finish(self, version: str, say: Say) -> CellOutcome:
        """Train, answer and judge, as far as that is not done. Raises SetupError if the folder holds a cell
        with other settings."""
        from stages.train.folder import claim

        recipe = self.training(version)
        settings = {
            "version": version,
            "train": recipe.model_dump(mode="json", exclude={"workers", "scratch", "evaluate"}),
            "evaluate": self._recipe.evaluate.model_dump(mode="json", exclude={"judge": _CONNECTION}),
            "benchmark_version": self._benchmark_version,
        }
        claim(self.folder, settings)
        if (done := self.outcome()) is not None:
            return done
        self._take_over(recipe)
        say(f"{self.cell.name}, seed {self.seed}: training on {version}")
        results = train(recipe)
        say(f"{self.cell.name}, seed {self.seed}: answering {self._recipe.evaluate.benchmark}")
        model, rows = results[-1].model, self._answered(Path(results[-1].model), say)
        outcome = CellOutcome(
            self.cell.name,
            self.seed,
            version,
            model,
            str(self._evaluation),
            {each.stage: each.steps for each in results if each.steps},
            sum(each.seconds or 0.0 for each in results),
            rows,
        )
        write_whole(self.folder / CELL, (json.dumps(asdict(outcome), indent=1) + "\n").encode())
        return outcome

    @property
    def _evaluation(self) -> Path:
        return self.folder / "evaluation"

    def _take_over(self, recipe: TrainingRecipe) -> None:
        """Link the stages that another cell has trained; the training checks that they are the same."""
        shares = self.cell.shares
        for stage in shares.stages if shares else ():
            assert shares is not None
            there = _folder(self._ablation, shares.cell, self.seed) / recipe.name / stage
            here = self.folder / recipe.name / stage
            if here.exists():
                continue
            if not (there / "model").exists():
                raise SetupError(
                    f"cell {self.cell.name} shares {stage} of {shares.cell}, which has not trained it: "
                    f"finish that cell first (--cell {shares.cell}), or take the stage out of `shares`"
                )
            here.parent.mkdir(parents=True, exist_ok=True)
            here.symlink_to(there.absolute(), target_is_directory=True)

    def _answered(self, model: Path, say: Say) -> dict[str, dict[str, float]]:
        settings = self._recipe.evaluate
        options = AnswersOptions(
            settings.benchmark,
            (str(model),),
            self._evaluation,
            judge=settings.judge,
            limit=settings.limit,
            sampling=AnswerSampling(settings.seed, settings.temperature, settings.max_tokens),
            vocoder=Path(settings.vocoder) if settings.vocoder else None,
        )
        evaluation = evaluate_answers(options, say)
        write_report(evaluation)
        values: dict[str, dict[str, Any]] = {
            measure: {each.row.id: each.value(measure) for each in evaluation.outcomes}
            for measure in MEASURES
        }
        return {
            measure: kept
            for measure, by_row in values.items()
            if (kept := {row: value for row, value in by_row.items() if value is not None})
        }


def _folder(ablation: Path, cell: str, seed: int) -> Path:
    return ablation / cell / f"seed-{seed}"
