"""One round of the loop.

judged.jsonl                       the candidates of each prompt, with what the rules make of them
audio/, questions/                 what candidates and prompts sound like
candidates.jsonl                   the candidates, as `rate` reads them
contrasts.jsonl, ratings.jsonl     answers that claim to be deaf, and the ratings by rules
pairs.json                         the version of the pairs
dpo/, merge/                       as in a training
evaluation/                        of the merged model
round.json                         the outcome; written last
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.alignment.judging import judged_prompts
from pipeline.alignment.pairs import build_pairs, write_candidates
from pipeline.alignment.recipe import AlignRecipe
from pipeline.evaluation.answers.benchmark import Benchmark
from pipeline.evaluation.answers.exchange import AnswerSampling
from pipeline.evaluation.answers.kept import CANDIDATES, write_whole
from pipeline.evaluation.answers.results import AnswersOptions
from pipeline.evaluation.answers.run import evaluate_answers
from pipeline.evaluation.answers.summary import RULES
from pipeline.report.answers import write_report
from pipeline.storage.uri import normalize_uri
from pipeline.training.chain import MERGE, train
from pipeline.training.recipe import BackboneConfig, MergeConfig, TrainingRecipe
from schemas.errors import SetupError

Say = Callable[[str], None]

DPO = "dpo"
PAIRS, ROUND = "pairs.json", "round.json"
MEASURES = ("word_errors", "grammar")
"""What an outcome tells of an evaluation beside the score of the rules."""


@dataclass(frozen=True)
class RoundPairs:
    version: str
    """As a dataset reference."""
    pairs: int
    prompts: int
    """With candidates that were compared."""
    score: float
    """Mean of all candidates by the rules, 0 to 1."""
    word_errors: float | None
    """Of all candidates: words heard otherwise than written, over words."""


@dataclass(frozen=True)
class RoundOutcome:
    number: int
    """0 for the model that the loop begins with."""
    model: str
    """Folder of the checkpoint."""
    evaluation: str
    """Folder with its report."""
    rules: float
    """Score of the held-out questions, 0 to 1."""
    interval: tuple[float, float]
    """Of the score: 95 %, by bootstrap over rows."""
    measures: dict[str, float]
    start: str | None = None
    """The model that the round started with."""
    pairs: RoundPairs | None = None

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> "RoundOutcome":
        pairs = content["pairs"] and RoundPairs(**content["pairs"])
        return cls(**content | {"interval": tuple(content["interval"]), "pairs": pairs})


class AlignRound:
    def __init__(
        self, recipe: AlignRecipe, prompts: Benchmark, number: int, start: Path, loop: Path, say: Say
    ) -> None:
        """`loop` is the folder of the loop."""
        self._recipe, self._prompts, self._number, self._start = recipe, prompts, number, start
        self._loop, self._folder, self._say = loop, loop / f"round-{number}", say

    def finish(self, sample_only: bool = False) -> RoundOutcome | str:
        """The outcome of the round, or why it has none. What is done already is not done again."""
        if (done := self._folder / ROUND).exists():
            return RoundOutcome.of_json(_read(done))
        if not (self._folder / PAIRS).exists():
            self._folder.mkdir(exist_ok=True)
            made = self._pairs(sample_only)
            if made is None:
                return f"{self._folder / CANDIDATES} waits for `aqaa-data rate`"
            if not made.pairs:  # not kept: with ratings by people there may be some
                return f"round {self._number} has no pairs: no prompt has answers that differ by the margin"
            write_whole(self._folder / PAIRS, _json(asdict(made)))
        pairs = RoundPairs(**_read(self._folder / PAIRS))
        self._say(f"round {self._number}: {pairs.pairs} pairs of {pairs.prompts} prompts")
        model = self._trained(pairs.version)
        return evaluated(self._recipe, self._number, model, self._folder, self._say, str(self._start), pairs)

    def _pairs(self, sample_only: bool) -> RoundPairs | None:
        """Sample, judge and pair; None if the loop should end before the pairs are made."""
        recipe = self._recipe
        self._say(f"round {self._number}: {self._start} answers {len(self._prompts.rows)} prompts")
        seed = recipe.candidates.seed + (self._number - 1) * recipe.candidates.number
        judged = judged_prompts(recipe, self._prompts, self._start, self._folder, seed, self._say)
        if not judged:
            raise SetupError(
                f"round {self._number}: no prompt has two answers with words, so nothing can be compared: "
                "raise `candidates.max_tokens`, or begin with a model that answers"
            )
        write_candidates(recipe, judged, self._folder)
        if sample_only:
            return None
        manifest = build_pairs(recipe, self._start, self._folder, self._loop / "datasets")
        errors = [value for each in judged for value in each.word_errors.values() if value is not None]
        return RoundPairs(
            f"{self._loop / 'datasets' / manifest.dataset}@{manifest.version}",
            manifest.samples.get("preference", 0),
            len(judged),
            fmean(score for each in judged for score in each.scores.values()),
            fmean(errors) if errors else None,
        )

    def _trained(self, version: str) -> Path:
        """DPO on the pairs, from the model that the round starts with, and the merge of both."""
        recipe, start = self._recipe, str(self._start)
        train(
            TrainingRecipe(
                name=self._folder.name,
                dataset=version,
                output=normalize_uri(str(self._loop)),
                backbone=BackboneConfig(checkpoint=start),
                workers=recipe.workers,
                dpo=recipe.dpo.model_copy(update={"dataset": version, "start": start}),
                merge=MergeConfig(weights={start: recipe.merge.start, DPO: recipe.merge.dpo}),
            )
        )
        return self._folder / MERGE / "model"


def evaluated(
    recipe: AlignRecipe,
    number: int,
    model: Path,
    folder: Path,
    say: Say,
    start: str | None = None,
    pairs: RoundPairs | None = None,
) -> RoundOutcome:
    """The outcome of a round whose model is trained. Raises SetupError if the rules judge no row."""
    if (done := folder / ROUND).exists():
        return RoundOutcome.of_json(_read(done))
    settings, out = recipe.evaluate, folder / "evaluation"
    options = AnswersOptions(
        settings.benchmark,
        (str(model),),
        out,
        limit=settings.limit,
        sampling=AnswerSampling(settings.seed, settings.temperature, settings.max_tokens),
        vocoder=Path(recipe.vocoder) if recipe.vocoder else None,
    )
    evaluation = evaluate_answers(options, say)
    report = write_report(evaluation)
    score = evaluation.estimate(evaluation.outcomes, RULES)
    if score is None:
        raise SetupError(
            f"`evaluate.benchmark`: no row of {settings.benchmark} was answered and judged by rules: see "
            f"{report}, and give its rows checks or references"
        )
    measures = {
        name: found.value for name in MEASURES if (found := evaluation.estimate(evaluation.outcomes, name))
    }
    say(f"round {number}: {score.value:.3f} of the checks of held-out questions pass")
    outcome = RoundOutcome(
        number, str(model), str(out), score.value, (score.low, score.high), measures, start, pairs
    )
    write_whole(done, _json(asdict(outcome)))
    return outcome


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
