"""The text tokenizer beside the weights of a finished stage, for those who open it with transformers."""

from pathlib import Path

from pipeline.models import resolve
from pipeline.training.display import TrainingDisplay
from pipeline.versions.provenance import MADE_BY
from schemas.errors import SetupError
from schemas.vocabulary import Vocabulary


def add_tokenizer(model: Path) -> None:
    """Write the tokenizer that a Step-1 checkpoint's vocabulary names, if it has none yet. One that is not on
    this machine, or whose ids such a file can't express, is left out, and a line says why: the checkpoint is
    complete without."""
    from stages.train.checkpoint import is_step1, read_vocabulary
    from stages.train.exported_tokenizer import write_tokenizer

    described = read_vocabulary(model) if is_step1(model) else None
    if described is None or MADE_BY not in described or (model / "tokenizer.json").exists():
        return
    try:
        path = resolve(described[MADE_BY]["vocabulary"]["tokenizer"]).path
        write_tokenizer(Vocabulary.described(described, path), model)
    except SetupError as error:
        TrainingDisplay().print(f"{model}: there is no text tokenizer beside the model: {error}")
