"""`aqaa-data init`"""

import json
import shutil
from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path

import click

from schemas.errors import SetupError
from stages.synthesize.talk import TalkDialogue, judging_dialogues, training_dialogues

DIALOGUES = 20_000
SPOKEN = 4_000
"""Dialogues that are spoken with their answers by all voices, and as many by voices that cost little. Of the
others, the questions alone are spoken."""
HELD_OUT = 1_000
PROMPTS = 1_000
BEFORE = ("talk-questions.yaml", "talk-answers.yaml")
"""Recipes whose speech the recipe of all reads."""


@click.command(epilog="Example: aqaa-data init my-data && aqaa-data build my-data/recipe.yaml")
@click.argument(
    "directory", type=click.Path(file_okay=False, path_type=Path), default=Path(), metavar="[DIR]"
)
@click.option(
    "--talk",
    is_flag=True,
    help=f"Instead: {DIALOGUES:,} short dialogues to be spoken (of most the questions alone), {HELD_OUT:,} "
    f"held-out questions, {PROMPTS:,} prompts for `align`, and the recipes that build them and train a small "
    "model to answer.",
)
def init(directory: Path, talk: bool) -> None:
    """Create a commented recipe.yaml and a folder with example recordings in DIR."""
    recipe = directory / "recipe.yaml"
    if recipe.exists():
        raise SetupError(f"{recipe} already exists: name another directory, or move the file")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with as_file(files("pipeline") / "recipes") as bundled:
            if talk:
                _write_talk(directory, bundled)
            else:
                _write_example(directory, bundled)
    except OSError as error:
        raise SetupError(f"can't write to {directory}: {error.strerror}") from error
    recipes = [*(directory / name for name in BEFORE if talk), recipe]
    click.echo(f"next: {' && '.join(f'aqaa-data build {each}' for each in recipes)}")


def _write_example(directory: Path, bundled: Path) -> None:
    recordings = directory / "recordings"
    if not recordings.exists():
        shutil.copytree(bundled / "example", recordings)
    shutil.copy(bundled / "new.yaml", directory / "recipe.yaml")
    click.echo(
        f"wrote {directory / 'recipe.yaml'}; its inputs are in {recordings}: add your own recordings there"
    )


def _write_talk(directory: Path, bundled: Path) -> None:
    dialogues = list(training_dialogues(DIALOGUES))
    _write_rows(directory / "conversations.jsonl", dialogues)
    _write_rows(directory / "spoken.jsonl", dialogues[:SPOKEN])
    _write_rows(directory / "questions.jsonl", dialogues[SPOKEN:-SPOKEN])
    _write_rows(directory / "answers.jsonl", dialogues[-SPOKEN:])
    _write_rows(directory / "held-out.jsonl", judging_dialogues(HELD_OUT))
    alone = [dialogue for dialogue in dialogues if len(dialogue.exchanges) == 1]
    _write_rows(directory / "prompts.jsonl", alone[:PROMPTS])
    shutil.copy(bundled / "train" / "talk.yaml", directory / "train.yaml")
    for name in BEFORE:
        shutil.copy(bundled / name, directory / name)
    shutil.copy(bundled / "talk.yaml", directory / "recipe.yaml")
    for name, what in (
        (f"{', '.join(BEFORE)}, recipe.yaml and train.yaml", ""),
        ("conversations.jsonl", f": {DIALOGUES:,} dialogues"),
        ("spoken.jsonl", f": the first {SPOKEN:,}, to be spoken"),
        ("answers.jsonl", f": the last {SPOKEN:,}, to be spoken by voices that cost little"),
        ("questions.jsonl", ": the others, whose questions alone are to be spoken"),
        ("held-out.jsonl", f": {HELD_OUT:,} questions that training never has"),
        ("prompts.jsonl", f": {PROMPTS:,} that it has, for `align`"),
    ):
        click.echo(f"wrote {name} to {directory}{what}")


def _write_rows(file: Path, dialogues: Iterable[TalkDialogue]) -> None:
    with file.open("w", encoding="utf-8") as lines:
        for dialogue in dialogues:
            lines.write(json.dumps(dialogue.row(), ensure_ascii=False) + "\n")
