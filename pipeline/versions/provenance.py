"""How the ids of a version were made, as a checkpoint says it that was trained on them."""

from typing import Any

from schemas.manifest import Manifest
from stages.tokenize.config import TokenizeConfig

MADE_BY = "made_by"
"""Key of vocabulary.json under which stands how the version's ids were made."""


def codes_of(manifest: Manifest) -> dict[str, Any]:
    """Which speech tokenizer a version's codes come from: its settings, and its models by hash."""
    tokenize = TokenizeConfig.model_validate(manifest.recipe["tokenize"])
    used = {model.reference: model.sha256 for model in manifest.models}
    models = {reference: used[reference] for reference in tokenize.models if reference in used}
    return {"tokenize": manifest.recipe["tokenize"], "models": models}


def ids_of(manifest: Manifest) -> dict[str, Any]:
    """What a checkpoint says of the ids that it was trained on: what the manifest of its version says, and
    which text tokenizer, which speech tokenizer and which order of text and speech they come from."""
    return manifest.vocabulary | {
        MADE_BY: {
            "vocabulary": manifest.recipe["vocabulary"],
            **codes_of(manifest),
            "interleave": {
                name: manifest.recipe["interleave"][name] for name in ("mode", "ratio", "concatenation")
            },
        }
    }
