"""`aqaa-data evaluate tokens`: from its options to its results."""

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
DEFAULT_TOKENIZER = "whisper"
"""Of files."""
MAX_CODED_TURNS = 20_000
"""Turns that the small models are trained and tested on."""


@dataclass(frozen=True)
class EvaluationOptions:
    """What to evaluate, and how."""

    inputs: tuple[str, ...]
    """A dataset reference, or files, directories and globs."""
    tokenizer: str | None = None
    """For files; `whisper` by default. A dataset has its codes already."""
    vocoder: Path | None = None
    split: str | None = None
    """Of a dataset; both by default."""
    limit: int = 200
    seed: int = 0
    """Of all sampling."""
    steps: int | None = None
    """Training steps of each small model; None skips them."""


@dataclass(frozen=True)
class Evaluation:
    options: EvaluationOptions
    dataset: str | None
    """Name and version."""
    resynthesis: Resynthesis | None
    """None for a version without audio, of which only codes are compared."""
    perplexity: Comparison | None = None
    sampled: ContinuationComparison | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "places": list(self.options.inputs),
            "dataset": self.dataset,
            "tokenizer": None if self.dataset else self.options.tokenizer or DEFAULT_TOKENIZER,
            "seed": self.options.seed,
            "resynthesis": self.resynthesis.as_json() if self.resynthesis else None,
            "perplexity": self.perplexity.as_json() if self.perplexity else None,
            "sampled": self.sampled.as_json() if self.sampled else None,
        }


def evaluate_tokens(options: EvaluationOptions, progress: MessageCallback = lambda line: None) -> Evaluation:
    """Run the evaluation. Raises SetupError for inputs or models that are missing, before any synthesis."""
    version = dataset_of(options.inputs)
    if version is not None and options.tokenizer is not None:
        raise SetupError("a dataset has its codes already: --tokenizer applies to files")
    if version is None and options.split is not None:
        raise SetupError("files have no split: --split applies to a dataset")
    vocoder = TimedVocoder(options.vocoder, options.seed)
    originals = _originals(options, version)
    if models := _tokenizer_models(options, version):
        vocoder.source.check(models)
    judge = SpeechJudge()
    resynthesis = (
        None if originals is None else resynthesise(originals, vocoder, judge, options.seed, progress)
    )
    dataset = f"{version.manifest.dataset}@{version.id}" if version else None
    if options.steps is None:
        return Evaluation(options, dataset, resynthesis)
    if version is not None:
        coded = coded_utterances(version, options.seed, _splits(options))
    else:
        judged = resynthesis.judged if resynthesis else []
        coded = [CodedUtterance(one.source, one.tokens, one.language) for one in judged]

    def on_step(metrics: dict[str, Any]) -> None:
        progress(
            f"{metrics['kind']} step {metrics['step'] + 1}/{metrics['steps']}, loss {metrics['loss']:.3f}"
        )

    trained = compare(coded, options.steps, options.seed, on_step)
    sampled = compare_continuations(trained.model, trained.held, vocoder, judge, options.seed)
    return Evaluation(options, dataset, resynthesis, trained.comparison, sampled if sampled.pairs else None)


def coded_utterances(version: Version, seed: int, splits: Sequence[str] = SPLITS) -> list[CodedUtterance]:
    """The codes of a version's turns, at most `MAX_CODED_TURNS`, drawn by hash."""
    turns = drawn(shard_turns(version, splits), MAX_CODED_TURNS, seed, lambda turn: turn.name)
    return [CodedUtterance(turn.recording, turn.tokens(version), turn.language) for turn in turns]


def _originals(options: EvaluationOptions, version: Version | None) -> Originals | None:
    """None for a version without audio if only its codes are compared."""
    if version is None:
        return FileOriginals(
            options.inputs, options.tokenizer or DEFAULT_TOKENIZER, options.limit, options.seed
        )
    turns = TurnOriginals(version, _splits(options), options.limit, options.seed)
    if turns.found:
        return turns
    if options.steps is None:
        raise SetupError(
            f"{version.manifest.dataset}@{version.id} keeps no audio of "
            f"{' and '.join(_splits(options))}: build it with shard.keep_audio: true, or name audio files; "
            "without audio only --perplexity works"
        )
    return None


def _splits(options: EvaluationOptions) -> tuple[str, ...]:
    return (options.split,) if options.split else SPLITS


def _tokenizer_models(options: EvaluationOptions, version: Version | None) -> dict[str, str]:
    """The models of the tokenizer of these codes, reference -> sha256."""
    if version is not None:
        models: dict[str, str] = codes_of(version.manifest)["models"]
        return models
    return {name: resolve(name).sha256 for name in config_of(options.tokenizer or DEFAULT_TOKENIZER).models}


def dataset_of(inputs: Sequence[str]) -> Version | None:
    """The version that a single input refers to; None if the inputs are files.

    Raises SetupError for a reference that can't be resolved, and for a dataset among other inputs.
    """
    datasets = [text for text in inputs if _is_dataset(text)]
    if datasets and len(inputs) > 1:
        raise SetupError(f"{datasets[0]} is a dataset: evaluate it by itself, without other inputs")
    return open_version(Reference.parse(datasets[0])) if datasets else None


def _is_dataset(text: str) -> bool:
    if "://" not in text and Path(text).is_file():
        return False
    try:
        reference = Reference.parse(text)
    except SetupError:
        return False
    if "@" in text.rstrip("/").rpartition("/")[2] and not Path(text).exists():
        return True
    return bool(version_ids(Store(f"{reference.root.rstrip('/')}/{reference.name}")))
