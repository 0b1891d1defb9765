"""A build in partitions: each is a dataset of its own under `partitions/`, and the version of all lists their
versions. The driver holds one partition at a time.

What is decided over a whole dataset (duplicates, speakers, caps and mixture) is decided in each partition.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from pipeline.build.publish import stored_manifest, summed
from pipeline.build.run import Built, build
from pipeline.config.recipe import Recipe, digest
from pipeline.inputs.listing import NoRecordingsError
from pipeline.inputs.partitions import Partition, partitions_of
from pipeline.monitoring.recorder import BuildRecorder
from pipeline.planning.plan import Plan, make_plan
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.versions.gc import PART_OF, record_use
from pipeline.versions.provenance import code_version
from pipeline.versions.reader import LATEST, tags_of
from pipeline.versions.tags import NONE, TagMovedError, tag
from schemas.errors import SetupError
from schemas.manifest import DialectCounts, Manifest, PartitionVersion, Share

Progress = Callable[[str], None]


def planned(recipe: Recipe, partition: Partition) -> Plan:
    """The plan of a partition. Raises SetupError, NoRecordingsError if its folder has no recording."""
    changed = {
        "name": partition.name,
        "inputs": partition.inputs,
        "output": Store(f"{recipe.output}/{recipe.name}").join(layout.PARTITIONS),
        "partitions": None,
    }
    return make_plan(recipe.model_copy(update=changed), folder=partition.folder)


def chosen(recipe: Recipe, only: Sequence[str]) -> list[Partition]:
    """The recipe's partitions, or those named `only`. Raises SetupError for a name that none has."""
    assert recipe.partitions is not None
    if recipe.limit_hours is not None:
        raise SetupError(
            "a limit of hours is for builds without partitions: for a pilot, name folders with --partition"
        )
    partitions = partitions_of(recipe.inputs, recipe.partitions.folders)
    names = [partition.name for partition in partitions]
    if unknown := [name for name in only if name not in names]:
        some = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise SetupError(f"no partition is called {unknown[0]}: there is {some}")
    return [partition for partition in partitions if not only or partition.name in only]


def build_partitions(
    recipe: Recipe,
    only: Sequence[str] = (),
    retry: bool = False,
    recorder: BuildRecorder | None = None,
    on_progress: Progress = lambda line: None,
) -> Built:
    """Build the partitions one after another, and publish a version of all of them.

    With `only`, the other parts are those of the latest version, so that several builds may each make some.
    Raises SetupError: as of any build, or if the others were built with other settings.
    """
    dataset = Store(f"{recipe.output}/{recipe.name}")
    partitions = chosen(recipe, only)
    _latest(dataset)  # refused now, and not after hours
    versions: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for number, partition in enumerate(partitions, 1):
        on_progress(f"partition {partition.name}, {number} of {len(partitions)}")
        try:
            plan = planned(recipe, partition)
        except NoRecordingsError:
            on_progress(f"partition {partition.name} has no recordings")
            continue
        built = build(plan, retry, recorder)
        versions[partition.name] = built.manifest.version
        for name, spent in built.seconds.items():
            seconds[name] = round(seconds.get(name, 0.0) + spent, 3)
    if not versions:
        raise NoRecordingsError(f"no recording found in any partition of {', '.join(recipe.inputs)}")
    while True:  # until no other build publishes at the same time
        earlier = _latest(dataset)
        others = {part.partition: part.version for part in earlier.parts} if only and earlier else {}
        manifest = head_of(recipe, dataset, others | versions)
        new = dataset.put_new(layout.manifest(manifest.version), stored_manifest(manifest))
        with suppress(TagMovedError):
            tag(dataset, LATEST, manifest.version, earlier.version if earlier else NONE)
            return Built(manifest, "published" if new else "nothing new", seconds)


def _latest(dataset: Store) -> Manifest | None:
    """The head of the latest version of all partitions. Raises SetupError if it was built without any."""
    version = tags_of(dataset).get(LATEST) if not dataset.is_local or dataset.directory.is_dir() else None
    if version is None:
        return None
    head = Manifest.model_validate_json(dataset.get(layout.manifest(version)))
    if not head.parts:
        raise SetupError(
            f"{dataset.uri} has versions without partitions: give the recipe another `name`, or remove "
            "`partitions`"
        )
    return head


def head_of(recipe: Recipe, dataset: Store, versions: Mapping[str, str]) -> Manifest:
    """The head of the versions of partitions, which are kept from now on as long as it is.

    Raises SetupError if they were built with different settings.
    """
    parts: list[PartitionVersion] = []
    total: Manifest | None = None
    for name in sorted(versions):
        manifest = Manifest.model_validate_json(_of(dataset, name).get(layout.manifest(versions[name])))
        settings = _settings(manifest)
        if parts and settings != parts[0].settings:
            raise SetupError(
                f"the partitions {parts[0].partition} and {name} were built with different settings: build "
                "without --partition, so that all have the recipe's"
            )
        parts.append(
            PartitionVersion(
                partition=name,
                version=manifest.version,
                settings=settings,
                shards=len(manifest.shards),
                bytes=manifest.bytes,
            )
        )
        total = manifest if total is None else _added(total, manifest)
    assert total is not None
    listed = [(part.partition, part.version) for part in parts]
    version = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
    for part in parts:
        use = {"kind": PART_OF, "dataset": dataset.uri, "version": version}
        record_use(_of(dataset, part.partition), part.version, f"{version}.json", json.dumps(use).encode())
    own = {
        "dataset": recipe.name,
        "version": version,
        "plan": digest(listed),
        "code_version": code_version(),
        "recipe": recipe.content(),
    }
    return total.model_copy(update={**own, "ledgers": [], "shards": [], "files": [], "parts": parts})


def _of(dataset: Store, partition: str) -> Store:
    return Store(dataset.join(layout.partition(partition)))


def _settings(manifest: Manifest) -> str:
    """Hash of everything but the inputs that determined the outputs of a version."""
    recipe = {key: value for key, value in manifest.recipe.items() if key != "name"}
    return digest([recipe, manifest.stages, manifest.vocabulary])


def _added(a: Manifest, b: Manifest) -> Manifest:
    """Both as one: all counts, without the files."""
    sums = {
        name: summed([getattr(a, name), getattr(b, name)])
        for name in (
            *("set_aside", "samples", "not_composed", "licences", "audio_notes", "companions", "styles"),
            *("voice_styles", "songs", "splits", "tokens"),
        )
    }
    counts = {
        name: type(mine).model_validate(summed([mine.model_dump(), getattr(b, name).model_dump()]))
        for name, mine in (("recordings", a.recordings), ("turns", a.turns), ("texts", a.texts))
    }
    dialects = {
        name: DialectCounts(
            turns=sum(m.dialects[name].turns for m in (a, b) if name in m.dialects),
            seconds=round(sum(m.dialects[name].seconds for m in (a, b) if name in m.dialects), 3),
        )
        for name in sorted({*a.dialects, *b.dialects})
    }
    return a.model_copy(
        update={
            **sums,
            **counts,
            "dialects": dialects,
            "mixture": _mixture(a, b),
            "rater_agreement": None,
            "inputs": [*a.inputs, *b.inputs],
            "models": [*a.models, *(model for model in b.models if model not in a.models)],
            "audio_seconds": round(a.audio_seconds + b.audio_seconds, 3),
            "kept_seconds": round(a.kept_seconds + b.kept_seconds, 3),
        }
    )


def _mixture(a: Manifest, b: Manifest) -> dict[str, Share]:
    tokens, left_out = (
        summed([{name: getattr(share, key) for name, share in m.mixture.items()} for m in (a, b)])
        for key in ("tokens", "left_out")
    )
    asked = {name: share.asked for m in (a, b) for name, share in m.mixture.items()}
    return {
        name: Share(
            asked=asked[name],
            got=round(tokens.get(name, 0) / max(1, sum(tokens.values())), 6),
            tokens=tokens.get(name, 0),
            left_out=left_out.get(name, 0),
        )
        for name in sorted(asked)
    }
