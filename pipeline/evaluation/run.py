"""`aqaa-data evaluate tokens`: from the arguments to everything that is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.evaluation.continuations import ContinuationComparison, compare_continuations
from pipeline.evaluation.originals import FileOriginals, Originals, TurnOriginals, drawn
from pipeline.evaluation.perplexity import CodedUtterance, Comparison, compare
from pipeline.evaluation.resynthesis import MessageCallback, Resynthesis, resynthesise
from pipeline.evaluation.shard_turns import shard_turns
from pipeline.evaluation.speech_judge import SpeechJudge
from pipeline.evaluation.timed_vocoder import TimedVocoder
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
"""Turns that small models learn from and are options of."""


@dataclass(frozen=True)
class EvaluationOptions:
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
    options: EvaluationOptions
    dataset: str | None
    """Name and version."""
    resynthesis: Resynthesis | None
    """None of a version without audio, which has codes to compare."""
    perplexity: Comparison | None = None
    sampled: ContinuationComparison | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "places": list(self.options.places),
            "dataset": self.dataset,
            "tokenizer": None if self.dataset else self.options.tokenizer or DEFAULT,
            "seed": self.options.seed,
            "resynthesis": self.resynthesis.as_json() if self.resynthesis else None,
            "perplexity": self.perplexity.as_json() if self.perplexity else None,
            "sampled": self.sampled.as_json() if self.sampled else None,
        }


def evaluate_tokens(options: EvaluationOptions, said: MessageCallback = lambda line: None) -> Evaluation:
    """Raises SetupError for what can't be found or loaded, before anything is spoken."""
    version = dataset_of(options.places)
    if version is not None and options.tokenizer is not None:
        raise SetupError("a dataset has its codes already: --tokenizer goes with files")
    if version is None and options.split is not None:
        raise SetupError("files are of no split: --split goes with a dataset")
    vocoder = TimedVocoder(options.vocoder, options.seed)
    originals = _originals(options, version)
    if models := _tokenizer_models(options, version):
        vocoder.voice.check(models)
    judge = SpeechJudge()
    spoken = None if originals is None else resynthesise(originals, vocoder, judge, options.seed, said)
    dataset = f"{version.manifest.dataset}@{version.id}" if version else None
    if options.steps is None:
        return Evaluation(options, dataset, spoken)
    if version is not None:
        turns = drawn(shard_turns(version, _parts(options)), MOST_CODED, options.seed, lambda turn: turn.name)
        coded = [CodedUtterance(turn.recording, turn.tokens(version), turn.language) for turn in turns]
    else:
        judged = spoken.judged if spoken else []
        coded = [CodedUtterance(one.source, one.tokens, one.language) for one in judged]

    def tell(metrics: dict[str, Any]) -> None:
        said(f"{metrics['kind']} step {metrics['step'] + 1}/{metrics['steps']}, loss {metrics['loss']:.3f}")

    learnt = compare(coded, options.steps, options.seed, tell)
    sampled = compare_continuations(learnt.model, learnt.held, vocoder, judge, options.seed)
    return Evaluation(options, dataset, spoken, learnt.comparison, sampled if sampled.pairs else None)


def _originals(options: EvaluationOptions, version: Version | None) -> Originals | None:
    """None where a version keeps no audio and is to be compared by its codes."""
    if version is None:
        return FileOriginals(options.places, options.tokenizer or DEFAULT, options.limit, options.seed)
    turns = TurnOriginals(version, _parts(options), options.limit, options.seed)
    if turns.found:
        return turns
    if options.steps is None:
        raise SetupError(
            f"{version.manifest.dataset}@{version.id} keeps no audio of "
            f"{' and '.join(_parts(options))}: build it with shard.keep_audio: true, or name audio files; "
            "without audio there is only --perplexity"
        )
    return None


def _parts(options: EvaluationOptions) -> tuple[str, ...]:
    return (options.split,) if options.split else SPLITS


def _tokenizer_models(options: EvaluationOptions, version: Version | None) -> dict[str, str]:
    """Of the tokenizer whose codes are spoken, reference -> sha256."""
    if version is not None:
        known: dict[str, str] = codes_of(version.manifest)["models"]
        return known
    return {name: resolve(name).sha256 for name in config_of(options.tokenizer or DEFAULT).models}


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
