"""The loop: sample, judge, pair, DPO, merge, evaluate; round after round, until the evaluation falls.

Everything is in the loop's folder, and every step goes on where it was stopped:

run.json                 the settings; a loop with others is refused
round-0/evaluation/      of the model that the loop begins with
round-1/                 see `AlignRound`
datasets/                the dataset whose versions are the pairs of the rounds
results.json             all rounds, and the best
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.alignment.pairs import made_by_of, rated_by_people
from pipeline.alignment.prompts import held_out_of, prompts_of
from pipeline.alignment.recipe import AlignRecipe
from pipeline.alignment.round import ROUND, AlignRound, RoundOutcome, Say, evaluated
from pipeline.evaluation.answers.kept import write_whole
from pipeline.inference.answer_vocoder import check_vocoder
from pipeline.models import located
from pipeline.storage.store import Store
from schemas.errors import SetupError

RESULTS = "results.json"
_MAY_CHANGE = {"name", "output", "rounds", "ratings", "workers"}
"""Settings that a loop may go on with when they have changed."""


@dataclass(frozen=True)
class AlignResult:
    rounds: tuple[RoundOutcome, ...]
    """The first is the model that the loop begins with."""
    ended: str
    """Why the loop ended."""

    @property
    def best(self) -> RoundOutcome:
        """The round with the highest score, the first of equal ones."""
        return max(self.rounds, key=lambda each: each.rules)

    def as_json(self) -> dict[str, Any]:
        rounds = [asdict(each) for each in self.rounds]
        return {"rounds": rounds, "best": asdict(self.best), "ended": self.ended}


class AlignLoop:
    """Raises SetupError for what is missing or doesn't fit, before anything is sampled."""

    def __init__(self, recipe: AlignRecipe, say: Say = lambda line: None) -> None:
        self.recipe, self._say = recipe, say
        self._store = Store(f"{recipe.output}/{recipe.name}")
        self.folder = self._store.directory
        self.start = located(recipe.checkpoint).absolute()
        if not (self.start / "config.json").is_file():
            raise SetupError(
                f"`checkpoint`: {self.start} is no model: it has no config.json. Name the folder of one"
            )
        if made_by_of(self.start).get("interleave", {}).get("mode") == "audio_only":
            raise SetupError(
                f"`checkpoint`: {self.start} answers in audio only, and answers are compared by their text: "
                "begin with a model that writes what it says"
            )
        check_vocoder(recipe.vocoder)
        self.held_out = held_out_of(recipe)
        self.prompts, self.left_out = prompts_of(recipe, self.held_out)
        rated_by_people(recipe)

    @property
    def rounds_done(self) -> int:
        return len(list(self.folder.glob(f"round-[1-9]*/{ROUND}")))

    def run(self, sample_only: bool = False) -> AlignResult:
        """Take all rounds that are left; with `sample_only` only until the next candidates can be rated."""
        from stages.train.folder import claim

        self._store.check_writable()
        settings = self.recipe.model_dump(mode="json", exclude=_MAY_CHANGE)
        claim(self.folder, settings | {"held_out_version": self.held_out.version})
        rounds = [evaluated(self.recipe, 0, self.start, self.folder / "round-0", self._say)]
        ended = f"all {self.recipe.rounds} rounds are done"
        for number in range(1, self.recipe.rounds + 1):
            start = Path(rounds[-1].model)
            each = AlignRound(self.recipe, self.prompts, number, start, self.folder, self._say)
            outcome = each.finish(sample_only)
            if isinstance(outcome, str):
                ended = outcome
                break
            best = max(earlier.rules for earlier in rounds)
            rounds.append(outcome)
            if outcome.rules < best:
                ended = f"the evaluation fell in round {number}, from {best:.3f} to {outcome.rules:.3f}"
                break
        result = AlignResult(tuple(rounds), ended)
        write_whole(self.folder / RESULTS, (json.dumps(result.as_json(), indent=1) + "\n").encode())
        return result
