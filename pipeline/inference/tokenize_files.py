"""Tokenize audio files without a build, as `aqaa-data tokenize` does."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.models import resolve
from schemas.errors import DataError, SetupError
from schemas.layout import group_count, merged
from schemas.recording import Codes
from schemas.vocabulary import STEP1_AUDIO
from stages.decode import DecodeConfig
from stages.decode.whole import read_whole
from stages.stage import SAMPLE_RATE, problem_of
from stages.tokenize import TokenizeConfig, load_tokenizer
from stages.tokenize.codebooks import FILE as CODEBOOKS
from stages.tokenize.resample import to_16k
from stages.tokenize.step_audio.checkpoint import PARAFORMER
from stages.tokenize.tokenizer import Tokenizer
from stages.tokenize.trained import checkpoint


@dataclass(frozen=True)
class Tokenized:
    """The codes of a file."""

    file: str
    seconds: float
    codes: Codes
    ids: tuple[int, ...]
    """Of the whole groups, in the layout of the public Step-1 vocabulary."""

    @property
    def groups(self) -> int:
        """Number of whole code groups."""
        return group_count(self.codes)

    @property
    def text(self) -> str:
        return "".join(f"<audio_{number - STEP1_AUDIO}>" for number in self.ids)

    def as_json(self, text: bool) -> dict[str, Any]:
        return {
            "file": self.file,
            "seconds": self.seconds,
            "linguistic": self.codes.linguistic,
            "semantic": self.codes.semantic,
            "ids": self.ids,
        } | ({"text": self.text} if text else {})


@dataclass(frozen=True)
class Refused:
    """A file that couldn't be tokenized, and why."""

    file: str
    code: str
    error: str

    def as_json(self) -> dict[str, Any]:
        return {"file": self.file, "code": self.code, "error": self.error}


def config_of(reference: str) -> TokenizeConfig:
    """The tokenizer settings for `whisper`, `step-audio`, or a reference to a checkpoint or to codebooks.

    Raises SetupError if the reference can't be resolved, or holds no tokenizer.
    """
    if reference in ("whisper", "step-audio"):
        return TokenizeConfig(tokenizer=reference)
    path = resolve(reference).path
    if (path / CODEBOOKS).exists() or checkpoint.describes(path):
        return TokenizeConfig(tokenizer="whisper", codebooks=reference)
    if (path / PARAFORMER).is_dir():
        return TokenizeConfig(tokenizer="step-audio", checkpoint=reference)
    raise SetupError(
        f"{path} holds no tokenizer: neither trained codes ({checkpoint.FILE}), nor k-means codebooks "
        f"({CODEBOOKS}), nor a Step-Audio-Tokenizer ({PARAFORMER})"
    )


def tokenize_files(files: Iterable[str], reference: str) -> Iterator[Tokenized | Refused]:
    """Tokenize files in order. Raises SetupError if the tokenizer can't be loaded."""
    config = config_of(reference)
    tokenizer = load_tokenizer(config, {name: resolve(name).path for name in config.models})
    for file in files:
        yield tokenize_file(file, tokenizer)


def tokenize_file(file: str, tokenizer: Tokenizer) -> Tokenized | Refused:
    """The codes of a file, taken as one utterance, or why it has none."""
    try:
        samples, rate = read_whole(Path(file), DecodeConfig())
        samples = to_16k(samples, rate)
        [codes] = tokenizer.encode([samples])
    except FileNotFoundError:
        return Refused(file, "missing", "there is no such file")
    except IsADirectoryError:
        return Refused(file, "directory", "this is a directory: name the files in it")
    except PermissionError:
        return Refused(file, "unreadable", "there is no permission to read the file")
    except (DataError, OSError) as error:
        problem = problem_of(error)
        return Refused(file, problem.code, problem.message)
    ids = tuple((merged(codes) + STEP1_AUDIO).tolist())
    return Tokenized(file, len(samples) / SAMPLE_RATE, codes, ids)
