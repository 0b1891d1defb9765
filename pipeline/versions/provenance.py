"""Provenance: the version of the code, and how the ids of a dataset version were made."""

import subprocess
from functools import lru_cache
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from schemas.manifest import Manifest
from stages.select import SelectConfig
from stages.tokenize.config import TokenizeConfig

MADE_BY = "made_by"
"""Key of vocabulary.json that holds how the version's ids were made."""

TRAINED_FROM = "dataset.json"
"""File of a training stage that says where its version is: `{uri, version}`."""

_DISTRIBUTION = "aqaa-data"
_CHECKOUT = Path(__file__).resolve().parents[2]


@lru_cache(maxsize=1)
def code_version(checkout: Path = _CHECKOUT) -> str:
    """The version of the running code, for records only: no plan id or version id depends on it.

    That of the installed distribution; in a git checkout with the commit, as `0.1.0+gbaefe47a2514`, and with
    `.dirty` if files differ from it.
    """
    release = installed_version(_DISTRIBUTION)
    # Of this project's checkout only: an installed package may be inside somebody else's.
    if not (checkout / ".git").exists() or not (checkout / "pyproject.toml").exists():
        return release
    command = ["git", "--no-optional-locks", "-C", str(checkout), "describe", "--always", "--dirty=.dirty"]
    try:
        described = subprocess.run(
            [*command, "--exclude=*", "--abbrev=12"], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):  # no git, or a checkout of another user
        return release
    return f"{release}+g{described.stdout.strip()}"


def select_of(manifest: Manifest) -> SelectConfig:
    """The thresholds that a version was made with."""
    return SelectConfig.model_validate(manifest.recipe["select"])


def codes_of(manifest: Manifest) -> dict[str, Any]:
    """The speech tokenizer that made a version's codes: its settings, and its models by hash."""
    tokenize = TokenizeConfig.model_validate(manifest.recipe["tokenize"])
    used = {model.reference: model.sha256 for model in manifest.models}
    models = {reference: used[reference] for reference in tokenize.models if reference in used}
    return {"tokenize": manifest.recipe["tokenize"], "models": models}


def ids_of(manifest: Manifest) -> dict[str, Any]:
    """What a checkpoint records about the ids that it was trained on: the vocabulary of the version, its text
    tokenizer, its speech tokenizer, and the order of text and speech."""
    return manifest.vocabulary | {
        MADE_BY: {
            "vocabulary": manifest.recipe["vocabulary"],
            **codes_of(manifest),
            "interleave": {
                name: manifest.recipe["interleave"][name] for name in ("mode", "ratio", "concatenation")
            },
        }
    }
