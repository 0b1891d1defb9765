"""An evaluation of answers as a Ray job on Kubernetes."""

from collections.abc import Iterator

from pipeline.evaluation.answers.models import is_server
from pipeline.evaluation.answers.recipe import AnswersRecipe
from pipeline.kubernetes.overlays import Resource
from pipeline.kubernetes.rayjob import OverlayJob, job_name
from pipeline.models import is_reference

_PLACES = ("models", "benchmark", "vocoder", "voice", "endpoint_key_file", "emotions")
"""Options that may name files."""


def evaluation_resources(recipe: AnswersRecipe, overlay: str, image: str | None = None) -> list[Resource]:
    """The resources that run an evaluation, the RayJob last.

    Raises SetupError for an overlay that can't be used, or a recipe with paths that the cluster can't read.
    """
    rendered = OverlayJob.rendered(overlay, "evaluate")
    rendered.check_paths(_uris(recipe))
    return rendered.filled(job_name(recipe.name, "aqaa-data-evaluate"), recipe.as_yaml(), image)


def _uris(recipe: AnswersRecipe) -> Iterator[tuple[str, str]]:
    """Keys and values that name files; the default of `out` does, too."""
    yield "answers.out", str(recipe.options.get("out", "evaluation"))
    for key in _PLACES:
        value = recipe.options.get(key) or ()
        for place in [value] if isinstance(value, str) else value:
            if not (is_server(place) or place == "builtin" or (key == "emotions" and is_reference(place))):
                yield f"answers.{key}", place
