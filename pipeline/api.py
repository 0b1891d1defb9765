"""The Python API: what the commands do, as functions for notebooks and programs.

    import aqaa_data

    recipe = aqaa_data.load_recipe("my-data/recipe.yaml", limit_hours=1)
    built = aqaa_data.build(aqaa_data.plan(recipe))
    for sample in aqaa_data.open_dataset("my-data/datasets/my-dataset"):
        print(sample.key, sample.family, len(sample.tokens))

All functions raise `SetupError`, with what to do about it, where the setup is to blame. Models are imported
by the functions that need them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.telemetry import disable_telemetry
from schemas.errors import DataError, SetupError

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset as ArrowDataset

    from pipeline.build.run import Built
    from pipeline.config.recipe import Recipe
    from pipeline.inference.answerer import Answerer
    from pipeline.inference.tokenize_files import Refused, Tokenized
    from pipeline.monitoring.recorder import BuildRecorder
    from pipeline.planning.plan import Plan
    from pipeline.versions.reader import Table, Version
    from pipeline.versions.samples import PublishedSample
    from schemas.manifest import Manifest
    from stages.train.sampling import Answer, Sampling

__all__ = [
    "DataError",
    "PublishedDataset",
    "SetupError",
    "answer",
    "build",
    "build_partitions",
    "load_recipe",
    "open_dataset",
    "plan",
    "tokenize",
]


disable_telemetry()


@dataclass(frozen=True)
class PublishedDataset:
    """A published version of a dataset; iterating it yields the samples of all splits."""

    version: "Version"

    @property
    def manifest(self) -> "Manifest":
        """Counts, models, recipe and files of the version."""
        return self.version.manifest

    def __iter__(self) -> "Iterator[PublishedSample]":
        return self.samples()

    def samples(self, split: str | None = None) -> "Iterator[PublishedSample]":
        """The samples of one split, such as `train` or `validation`, in the order of the shards."""
        from pipeline.versions.samples import samples

        return samples(self.version, split)

    def table(self, name: "Table") -> "AbstractContextManager[ArrowDataset]":
        """`turns`, `set_aside` or `index` as an Arrow dataset.

        with open_dataset("out/demo").table("turns") as turns:
            print(turns.count_rows())
        """
        return self.version.table(name)


def open_dataset(reference: str) -> PublishedDataset:
    """Open a published version: `[URI/]NAME[@VERSION|@TAG]`, where the default tag is `latest`.

        dataset = open_dataset("s3://bucket/sets/calls@latest")
        tokens = sum(len(sample.tokens) for sample in dataset.samples("train"))

    Raises SetupError, with the datasets or versions that exist, if there is none.
    """
    from pipeline.versions.reader import Reference, open_version

    return PublishedDataset(open_version(Reference.parse(reference)))


def load_recipe(path: str | Path, *settings: str, **overrides: Any) -> "Recipe":
    """Read a recipe. `settings` are `section.key=value` as for `--set`; `overrides` are keys of the recipe,
    sections as mappings.

        load_recipe("recipe.yaml", "select.words_min=2")
        load_recipe("recipe.yaml", inputs=["s3://bucket/calls"], select={"words_min": 2})

    Paths in the recipe are relative to its folder; `inputs` and `output` given here to the working directory.
    Raises SetupError with file, line and the nearest valid key.
    """
    from pipeline.config.recipe import load

    inputs = overrides.pop("inputs", None) or ()
    return load(
        path,
        (*settings, *_settings(overrides)),
        (inputs,) if isinstance(inputs, str) else tuple(inputs),
        overrides.pop("output", None),
        overrides.pop("limit_hours", None),
    )


def plan(
    recipe: "Recipe", *, dry_run: bool = False, on_progress: Callable[[str], None] | None = None
) -> "Plan":
    """List the inputs, cut them into units and resolve the models. No audio is read.

        planned = plan(load_recipe("recipe.yaml"))
        print(planned.id, len(planned.units))

    Where the recipe synthesizes conversations, their recordings are made here, unless `dry_run` is set;
    `on_progress` receives a line about each step. Raises SetupError.
    """
    from pipeline.planning.plan import make_plan
    from pipeline.synthesis.run import synthesize

    told = on_progress or _ignore
    planned = make_plan(recipe, synthesize(recipe, told if dry_run else _ignore, make=False))
    if dry_run or planned.synthesis is None:
        return planned
    # What is wrong was told by now, before hours of speaking.
    return make_plan(recipe, synthesize(recipe, told))


def build(plan: "Plan", *, retry: bool = False, recorder: "BuildRecorder | None" = None) -> "Built":
    """Run a plan, and publish a version. Progress is shown on stderr.

        built = build(plan(load_recipe("recipe.yaml")))
        print(built.status, built.manifest.version)

    `retry` runs recordings again that were set aside. Must be called in the main thread. Raises SetupError;
    work that was committed before it is kept, and the next call resumes.
    """
    from pipeline.build.run import build

    return build(plan, retry, recorder)


def build_partitions(
    recipe: "Recipe",
    only: Sequence[str] = (),
    *,
    retry: bool = False,
    recorder: "BuildRecorder | None" = None,
    on_progress: Callable[[str], None] | None = None,
) -> "Built":
    """Plan and build each partition of a recipe with `partitions`, and publish a version of all of them.

        built = build_partitions(load_recipe("recipe.yaml"), only=["2026-07"])

    With `only`, the others are those of the latest version. Raises SetupError, as `build` does.
    """
    from pipeline.build.partitions import build_partitions

    return build_partitions(recipe, only, retry, recorder, on_progress or _ignore)


def tokenize(files: Iterable[str], tokenizer: str = "whisper") -> "Iterator[Tokenized | Refused]":
    """The audio tokens of files of any format, each as one utterance, in order.

        for result in tokenize(["question.wav"]):
            print(result.file, result.seconds, result.codes.linguistic)

    `tokenizer` is `whisper`, `step-audio`, or a reference to a Step-Audio checkpoint or to codebooks. A file
    that can't be read yields `Refused` with the reason. Raises SetupError if the tokenizer can't be loaded.
    """
    from pipeline.inference.tokenize_files import tokenize_files

    return tokenize_files(files, tokenizer)


def answer(
    checkpoint: "str | Path | Answerer", question: str, *, system: str | None = None, **sampling: Any
) -> "Answer":
    """The answer of a trained model to a spoken question (an audio file), as text and audio tokens.

        reply = answer("runs/merged", "question.wav", temperature=0.7, max_tokens=1024)
        print(reply.text, reply.reason)

    `sampling` are the fields of `stages.train.sampling.Sampling`: temperature, top_p, seed, max_tokens. To
    answer several questions, load the model once: pass `pipeline.inference.answerer.open_answerer(folder)`
    as `checkpoint`. `aqaa-data answer -o` also speaks the answer. Raises SetupError for the checkpoint and
    for unknown or invalid `sampling`, and DataError for a question that can't be used.
    """
    from pipeline.inference.answerer import open_answerer
    from pipeline.inference.dialogue import Dialogue
    from pipeline.inference.tokenize_files import Refused, tokenize_file
    from stages.train.sampling import Answer

    settings = _sampling(sampling)
    answerer = open_answerer(Path(checkpoint)) if isinstance(checkpoint, str | Path) else checkpoint
    tokenized = tokenize_file(question, answerer.tokenizer)
    if isinstance(tokenized, Refused):
        raise DataError(tokenized.code, tokenized.error)
    events = Dialogue(answerer, answerer.form, settings, system=system).ask(tokenized)
    return next(event for event in events if isinstance(event, Answer))


def _sampling(settings: Mapping[str, Any]) -> "Sampling":
    """Raises SetupError for a name that isn't a field of Sampling, and for a value that is out of range."""
    from stages.train.sampling import Sampling

    valid = [field.name for field in fields(Sampling)]
    for name in settings:
        if name not in valid:
            near = get_close_matches(name, valid, 1)
            raise SetupError(
                f"there is no sampling setting {name!r}{f' (did you mean {near[0]}?)' if near else ''}; "
                f"the settings are {', '.join(valid)}"
            )
    try:
        return Sampling(**settings)
    except (TypeError, ValueError) as error:
        raise SetupError(f"can't sample with these settings: {error}") from error


def _settings(overrides: Mapping[str, Any], section: str = "") -> Iterator[str]:
    """Nested overrides as `section.key=value`, but for those that `load` takes itself."""
    for key, value in overrides.items():
        name = f"{section}{key}"
        if isinstance(value, Mapping) and value:
            yield from _settings(value, f"{name}.")
        elif name not in ("inputs", "output", "limit_hours"):
            yield f"{name}={json.dumps(value, ensure_ascii=False)}"


def _ignore(_line: str) -> None:
    pass
