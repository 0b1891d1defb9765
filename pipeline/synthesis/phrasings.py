"""The phrasings of spoken instructions: those of the recipe, and those that come with the package."""

from pathlib import Path

import stages.synthesize.asking
from pipeline.inputs.small_files import read_text
from schemas.errors import DataError, SetupError
from stages.synthesize.asking import AskingTemplates, SpokenInstructionsConfig

PACKAGED = ("en", "zh")
LARGEST = 1_000_000
"""Maximum bytes of a file."""


def phrasings_of(config: SpokenInstructionsConfig | None) -> dict[str, AskingTemplates]:
    """Language -> phrasings. Raises SetupError for a file that can't be read or isn't complete."""
    if config is None:
        return {}
    folder = Path(stages.synthesize.asking.__file__).parent
    files = {language: str(folder / f"{language}.txt") for language in PACKAGED} | config.phrasings
    found = {}
    for language, uri in files.items():
        try:
            found[language] = AskingTemplates(read_text(uri, LARGEST), uri)
        except DataError as error:
            where = f"synthesize.spoken_instructions.phrasings.{language}"
            told = f"{uri} doesn't exist" if error.code == "vanished" else str(error)
            raise SetupError(f"{where}: {told}: name a file with templates") from error
    return found
