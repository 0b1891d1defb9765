"""The recipe of `aqaa-data align`."""

from collections.abc import Sequence

from pydantic import Field, PositiveFloat

from pipeline.config.yaml_config import beside, read_yaml
from pipeline.evaluation.answers.benchmark import benchmark_beside
from pipeline.models import is_reference
from pipeline.storage.store import Store
from pipeline.storage.uri import normalize_uri
from pipeline.training.recipe import DPOStageConfig, WorkersConfig
from schemas.errors import SetupError
from stages.stage import Config


class PromptsConfig(Config):
    """What is asked in each round. Of a conversation the first question is asked, and the checks of its
    answer judge."""

    benchmark: str = Field(description="rows of a benchmark in a file, a folder or a prefix, or `builtin`")
    limit: int | None = Field(None, gt=0, description="rows of each dimension (null: all)")


class CandidatesConfig(Config):
    """The answers that are sampled for each prompt, many at a time."""

    number: int = Field(4, ge=2, description="answers to a prompt")
    temperature: float = Field(1.0, gt=0, le=2, description="sampling temperature: answers must differ")
    top_p: float = Field(0.95, gt=0, le=1, description="share of the probability that is drawn from")
    max_tokens: int = Field(256, gt=0, description="end an answer after this many tokens")
    seed: int = Field(0, ge=0, description="of the first answer of the first round; each answer has its own")


class RoundMergeConfig(Config):
    """The weighted mean that ends a round."""

    start: PositiveFloat = Field(1, description="weight of the model that the round starts with")
    dpo: PositiveFloat = Field(1, description="weight of the model that DPO trains")


class HeldOutConfig(Config):
    """The evaluation after each round, of questions that are no prompts."""

    benchmark: str = Field("builtin", description="`builtin`, or rows in a file, a folder or a prefix")
    limit: int | None = Field(None, gt=0, description="rows of each dimension (null: all)")
    temperature: float = Field(0, ge=0, le=2, description="0 always takes the most likely token")
    max_tokens: int = Field(256, gt=0, description="end an answer after this many tokens")
    seed: int = Field(0, ge=0, description="seed of the sampling, if it draws, and of the intervals")


class AlignRecipe(Config):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of the loop, and of its folder")
    output: str = Field("runs", description="directory for the loop's folder")
    checkpoint: str = Field(description="the model to begin with: a folder or a reference")
    vocoder: str | None = Field(None, description="folder of the vocoder that speaks (null: the bundled one)")
    rounds: int = Field(3, gt=0, description="most rounds; the loop ends earlier when the evaluation falls")
    prompts: PromptsConfig = Field(description="what is asked")
    candidates: CandidatesConfig = Field(CandidatesConfig(), description="answers sampled for each prompt")
    ratings: tuple[str, ...] = Field(
        (), description="people's ratings of candidates, as `rate` writes them; they stand in for the rules"
    )
    margin: float = Field(
        1.0, gt=0, le=4, description="least difference of best and worst on the scale from 1 to 5"
    )
    deaf: float = Field(
        0.2,
        ge=0,
        le=1,
        description="share of prompts whose best answer is also paired with the claim not to have heard",
    )
    workers: WorkersConfig = Field(WorkersConfig(), description="processes of the training")
    dpo: DPOStageConfig = Field(DPOStageConfig(), description="training on the pairs of a round")
    merge: RoundMergeConfig = Field(RoundMergeConfig(), description="the model that a round ends with")
    evaluate: HeldOutConfig = Field(HeldOutConfig(), description="held-out questions")


def load(path: str, settings: Sequence[str] = (), output: str | None = None) -> AlignRecipe:
    """Read a recipe; paths in it are relative to its directory. Raises SetupError with file, line and key."""
    parsed = read_yaml(path, settings)
    recipe = parsed.validated(AlignRecipe)

    def resolved(benchmark: str) -> dict[str, str]:
        return {"benchmark": benchmark_beside(parsed.file, benchmark)}

    output = normalize_uri(output or beside(parsed.file, recipe.output))
    if not Store(output).is_local:
        raise SetupError(f"{path}: `output`: align needs a directory on this machine, not {output}: name one")
    own = {name: getattr(recipe.dpo, name) for name in ("dataset", "start") if getattr(recipe.dpo, name)}
    if own:
        raise SetupError(
            f"{parsed.location_of(('dpo', next(iter(own))))}: `dpo.{next(iter(own))}` is set by each round: "
            "remove it"
        )
    checkpoint, prompts, evaluate = recipe.checkpoint, recipe.prompts, recipe.evaluate
    return recipe.model_copy(
        update={
            "output": output,
            "checkpoint": checkpoint if is_reference(checkpoint) else beside(parsed.file, checkpoint),
            "vocoder": recipe.vocoder and beside(parsed.file, recipe.vocoder),
            "ratings": tuple(beside(parsed.file, uri) for uri in recipe.ratings),
            "prompts": prompts.model_copy(update=resolved(prompts.benchmark)),
            "evaluate": evaluate.model_copy(update=resolved(evaluate.benchmark)),
        }
    )
