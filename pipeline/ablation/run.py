"""`aqaa-data ablate`: pack, train, answer and judge, cell by cell, and the tables.

<output>/<name>/<cell>/seed-0/    see `CellRun`
<output>/<name>/codebooks.json    two codebooks against one
<output>/<name>/results.json      the tables, also as tables.md
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.ablation.cell import CellOutcome, CellRun
from pipeline.ablation.codebooks import CodebooksTable
from pipeline.ablation.recipe import AblateRecipe, CellConfig
from pipeline.ablation.table import AblationTable, as_markdown, tables_of
from pipeline.build.run import build
from pipeline.config.recipe import Recipe
from pipeline.config.recipe import load as load_build
from pipeline.evaluation.answers.benchmark import open_benchmark
from pipeline.evaluation.answers.kept import write_whole
from pipeline.inference.answer_vocoder import check_vocoder
from pipeline.planning.plan import Plan, make_plan
from pipeline.storage.store import Store
from pipeline.synthesis.run import synthesize
from pipeline.versions.reader import LATEST, Reference, open_version, tags_of
from pipeline.versions.tags import tag
from schemas.errors import SetupError

Say = Callable[[str], None]

RESULTS, TABLES, CODEBOOKS = "results.json", "tables.md", "codebooks.json"


@dataclass(frozen=True)
class AblationResult:
    tables: tuple[AblationTable, ...]
    codebooks: CodebooksTable | None
    waiting: tuple[str, ...]
    """Cells that are not finished."""

    def as_json(self) -> dict[str, Any]:
        return {
            "tables": [table.as_json() for table in self.tables],
            "codebooks": self.codebooks and asdict(self.codebooks),
            "waiting": list(self.waiting),
        }


class Ablation:
    """Raises SetupError for a cell whose build or training doesn't fit, before anything is packed."""

    def __init__(self, recipe: AblateRecipe, say: Say = lambda line: None) -> None:
        self.recipe, self._say = recipe, say
        self._store = Store(f"{recipe.output}/{recipe.name}")
        self.folder = self._store.directory
        check_vocoder(recipe.evaluate.vocoder)
        self.benchmark = open_benchmark(recipe.evaluate.benchmark).limited(recipe.evaluate.limit)
        self.runs = {
            (cell.name, seed): CellRun(recipe, cell, seed, self.folder, self.benchmark.version)
            for cell in recipe.cells
            for seed in recipe.seeds
        }
        self._builds = {cell.name: self._build_recipe(cell) for cell in recipe.cells}
        for run in self.runs.values():
            run.training(recipe.dataset or "unknown")

    def run(self, only: Sequence[str] = ()) -> AblationResult:
        """Finish all cells, or `only` some; the tables have what is finished by then."""
        names = list(self._builds)
        for name in only:
            if name not in names:
                raise SetupError(f"the recipe has no cell {name}: it has {', '.join(names)}")
        self._store.check_writable()
        chosen = [name for name in names if not only or name in only]
        versions = self._packed(chosen)
        for (name, _), run in self.runs.items():
            if name in chosen:
                run.finish(versions[name], self._say)
        return self._result(versions)

    def _build_recipe(self, cell: CellConfig) -> Recipe | None:
        """The build recipe of a cell; None if all cells have one version."""
        if self.recipe.build is None:
            return None
        try:
            return load_build(self.recipe.build, (*self.recipe.shared.build_settings, *cell.build_settings))
        except SetupError as error:
            raise SetupError(f"cell {cell.name}: {error}") from None

    def _packed(self, names: Sequence[str]) -> dict[str, str]:
        """The version of each cell, as a dataset reference. No tag is moved."""
        versions: dict[str, str] = {}
        for name in names:
            recipe = self._builds[name]
            if recipe is None:
                version = open_version(Reference.parse(str(self.recipe.dataset)))
                versions[name] = f"{version.store.uri}@{version.id}"
                continue
            self._say(f"{name}: packing {recipe.name}")
            versions[name] = _published(make_plan(recipe, synthesize(recipe, self._say)))
        return versions

    def _result(self, versions: dict[str, str]) -> AblationResult:
        outcomes: dict[tuple[str, int], CellOutcome] = {
            key: outcome for key, run in self.runs.items() if (outcome := run.outcome())
        }
        waiting = dict.fromkeys(name for name, seed in self.runs if (name, seed) not in outcomes)
        codebooks = self._codebooks(versions.get(self.recipe.cells[0].name))
        result = AblationResult(tuple(tables_of(self.recipe, outcomes)), codebooks, tuple(waiting))
        write_whole(self.folder / RESULTS, (json.dumps(result.as_json(), indent=1) + "\n").encode())
        text = as_markdown(result.tables) + (f"\n{codebooks.as_markdown()}" if codebooks else "")
        write_whole(self.folder / TABLES, text.encode())
        return result

    def _codebooks(self, version: str | None) -> CodebooksTable | None:
        """`version` is that of the first cell, or None where only other cells are asked for: then the table
        is there if it was computed before."""
        config, file = self.recipe.codebooks, self.folder / CODEBOOKS
        if config is None or (version is None and not file.exists()):
            return None
        return CodebooksTable.kept(file, config, version, self._say)


def _published(plan: Plan) -> str:
    """The version of a plan, as a dataset reference. Builds tag what they publish as the latest; that of a
    cell is nobody's latest, so the tag goes back, unless another build has moved it meanwhile."""
    before = tags_of(plan.dataset).get(LATEST)
    version = build(plan).manifest.version
    if before not in (None, version) and tags_of(plan.dataset)[LATEST] == version:
        tag(plan.dataset, LATEST, str(before), expected=version)
    return f"{plan.dataset.uri}@{version}"
