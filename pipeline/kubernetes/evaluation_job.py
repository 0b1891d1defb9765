"""An evaluation of answers or of tokens as a Ray job on Kubernetes."""

import shlex
from collections.abc import Iterator

from pipeline.evaluation.answers.models import is_server
from pipeline.evaluation.recipe import EvaluationRecipe
from pipeline.kubernetes.overlays import Resource
from pipeline.kubernetes.rayjob import OverlayJob, job_name
from pipeline.models import is_reference
from schemas.errors import SetupError

_PLACES = {
    "answers": ("models", "benchmark", "vocoder", "voice", "endpoint_key_file", "emotions"),
    "tokens": ("inputs", "tokenizer", "vocoder", "report"),
}
"""Options of each command that may name files."""
_NAMES = {"benchmark": ("builtin",), "tokenizer": ("whisper", "step-audio")}
"""Values that name no file."""
_MODELS = ("emotions", "tokenizer")
"""Options that may be references of models."""
_FILE = "file:"


def evaluation_resources(recipe: EvaluationRecipe, overlay: str, image: str | None = None) -> list[Resource]:
    """The resources that run an evaluation, the RayJob last.

    Raises SetupError for an overlay that can't be used, or a recipe with paths that the cluster can't read.
    """
    rendered = OverlayJob.rendered(overlay, "evaluate")
    rendered.check_paths(_uris(recipe))
    spec = rendered.job["spec"]
    program, group, *given = shlex.split(spec["entrypoint"])
    if given[:1] != [recipe.command] and given[1:2] + given[3:] != ["--recipe"]:
        raise SetupError(
            f"{rendered.folder}: its job runs `{spec['entrypoint']}`, whose options `evaluate "
            f"{recipe.command}` may not have: name an overlay with `--recipe` alone"
        )
    spec["entrypoint"] = shlex.join([program, group, recipe.command, *given[1:]])
    return rendered.filled(job_name(recipe.name, "aqaa-data-evaluate"), recipe.as_yaml(), image)


def _uris(recipe: EvaluationRecipe) -> Iterator[tuple[str, str]]:
    """Keys and values that name files; the default of `out` does, too."""
    if recipe.command == "answers":
        yield "answers.out", str(recipe.options.get("out", "evaluation"))
    for key in _PLACES[recipe.command]:
        value = recipe.options.get(key) or ()
        for place in [value] if isinstance(value, str) else value:
            if place in _NAMES.get(key, ()) or is_server(place):
                continue
            if key in _MODELS and is_reference(place) and not place.startswith(_FILE):
                continue
            yield f"{recipe.command}.{key}", place.removeprefix(_FILE) if key in _MODELS else place
