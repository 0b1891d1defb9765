"""`aqaa-data evaluate tokens`: from the arguments to everything that is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.evaluation.judges import Judges
from pipeline.evaluation.originals import Files, Originals, Turns, drawn
from pipeline.evaluation.perplexity import Coded, Comparison, compare
from pipeline.evaluation.sampled import Sampled, go_on
from pipeline.evaluation.shards import turns_of
from pipeline.evaluation.tokens import MessageCallback, Resynthesis, resynthesise
from pipeline.evaluation.vocoding import TimedVocoder
from pipeline.inference.tokenize_files import config_of
from pipeline.models import resolve
from pipeline.storage.store import Store
from pipeline.versions.provenance import codes_of
from pipeline.versions.reader import Reference, Version, open_version, version_ids
from schemas.errors import SetupError

SPLITS = ("train", "validation")
DEFAULT = "whisper"
"""Tokenizer of files."""
MOST_CODED = 20_000
"""Turns that small models learn from and are asked of."""


@dataclass(frozen=True)
class Asked:
    """What is to be evaluated, and how."""

    places: tuple[str, ...]
    """One dataset reference, or files, directories and globs."""
    tokenizer: str | None = None
    """Of files, `whisper` where nothing is said; a dataset has its codes."""
    vocoder: Path | None = None
    split: str | None = None
    """Of a dataset, both where nothing is said."""
    limit: int = 200
    seed: int = 0
    """Of all draws."""
    steps: int | None = None
    """Of each small model's training; None trains none."""


@dataclass(frozen=True)
class Evaluation:
    asked: Asked
    dataset: str | None
    """Name and version."""
    resynthesis: Resynthesis | None
    """None of a version without audio, which has codes to compare."""
    perplexity: Comparison | None = None
    sampled: Sampled | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "places": list(self.asked.places),
            "dataset": self.dataset,
            "tokenizer": None if self.dataset else self.asked.tokenizer or DEFAULT,
            "seed": self.asked.seed,
            "resynthesis": self.resynthesis.as_json() if self.resynthesis else None,
            "perplexity": self.perplexity.as_json() if self.perplexity else None,
            "sampled": self.sampled.as_json() if self.sampled else None,
        }


def evaluate_tokens(asked: Asked, said: MessageCallback = lambda line: None) -> Evaluation:
    """Raises SetupError for what can't be found or loaded, before anything is spoken."""
    version = dataset_of(asked.places)
    if version is not None and asked.tokenizer is not None:
        raise SetupError("a dataset has its codes already: --tokenizer goes with files")
    if version is None and asked.split is not None:
        raise SetupError("files are of no split: --split goes with a dataset")
    vocoder = TimedVocoder(asked.vocoder, asked.seed)
    originals = _originals(asked, version)
    if models := _tokenizer_models(asked, version):
        vocoder.voice.check(models)
    judges = Judges()
    spoken = None if originals is None else resynthesise(originals, vocoder, judges, asked.seed, said)
    dataset = f"{version.manifest.dataset}@{version.id}" if version else None
    if asked.steps is None:
        return Evaluation(asked, dataset, spoken)
    if version is not None:
        turns = drawn(turns_of(version, _parts(asked)), MOST_CODED, asked.seed, lambda turn: turn.name)
        coded = [Coded(turn.recording, turn.tokens(version), turn.language) for turn in turns]
    else:
        judged = spoken.judged if spoken else []
        coded = [Coded(one.source, one.tokens, one.language) for one in judged]

    def tell(metrics: dict[str, Any]) -> None:
        said(f"{metrics['kind']} step {metrics['step'] + 1}/{metrics['steps']}, loss {metrics['loss']:.3f}")

    learnt = compare(coded, asked.steps, asked.seed, tell)
    sampled = go_on(learnt.model, learnt.held, vocoder, judges, asked.seed)
    return Evaluation(asked, dataset, spoken, learnt.comparison, sampled if sampled.pairs else None)


def _originals(asked: Asked, version: Version | None) -> Originals | None:
    """None where a version keeps no audio and is to be compared by its codes."""
    if version is None:
        return Files(asked.places, asked.tokenizer or DEFAULT, asked.limit, asked.seed)
    turns = Turns(version, _parts(asked), asked.limit, asked.seed)
    if turns.found:
        return turns
    if asked.steps is None:
        raise SetupError(
            f"{version.manifest.dataset}@{version.id} keeps no audio of {' and '.join(_parts(asked))}: build "
            "it with shard.keep_audio: true, or name audio files; without audio there is only --perplexity"
        )
    return None


def _parts(asked: Asked) -> tuple[str, ...]:
    return (asked.split,) if asked.split else SPLITS


def _tokenizer_models(asked: Asked, version: Version | None) -> dict[str, str]:
    """Of the tokenizer whose codes are spoken, reference -> sha256."""
    if version is not None:
        known: dict[str, str] = codes_of(version.manifest)["models"]
        return known
    return {name: resolve(name).sha256 for name in config_of(asked.tokenizer or DEFAULT).models}


def dataset_of(places: Sequence[str]) -> Version | None:
    """The version that a single place refers to; None where places are files.

    Raises SetupError for a reference that leads nowhere, and for a dataset among others.
    """
    named = [place for place in places if _is_dataset(place)]
    if named and len(places) > 1:
        raise SetupError(f"{named[0]} is a dataset: evaluate it by itself, without other places")
    return open_version(Reference.parse(named[0])) if named else None


def _is_dataset(place: str) -> bool:
    if "://" not in place and Path(place).is_file():
        return False
    try:
        reference = Reference.parse(place)
    except SetupError:
        return False
    if "@" in place.rstrip("/").rpartition("/")[2] and not Path(place).exists():
        return True
    return bool(version_ids(Store(f"{reference.root.rstrip('/')}/{reference.name}")))
