"""A build in partitions: each is a dataset of its own under `partitions/`, and the version of all lists their
versions. The driver holds one partition at a time.

What is decided over a whole dataset (duplicates, speakers, caps and mixture) is decided in each partition.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from pipeline.build.publish import stored_manifest, summed
from pipeline.build.run import Built, build
from pipeline.config.recipe import Recipe, digest
from pipeline.inputs.listing import NoRecordingsError
from pipeline.inputs.partitions import Partition, partitions_of
from pipeline.monitoring.recorder import BuildRecorder
from pipeline.planning.plan import Plan, make_plan, plan_stages
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.versions.gc import PART_OF, record_use
from pipeline.versions.provenance import code_version
from pipeline.versions.reader import LATEST, head_at, tags_of, version_at
from pipeline.versions.tags import NONE, TagMovedError, tag
from schemas.errors import SetupError
from schemas.manifest import DialectCounts, Manifest, PartitionVersion, Share, version_id_of_parts

Progress = Callable[[str], None]


def planned(recipe: Recipe, partition: Partition) -> Plan:
    """The plan of a partition. Raises SetupError, NoRecordingsError if its folder has no recording."""
    changed = {
        "name": partition.name,
        "inputs": partition.inputs,
        "output": f"{recipe.output}/{recipe.name}/{layout.PARTITIONS}",
        "partitions": None,
    }
    return make_plan(recipe.model_copy(update=changed), folder=partition.folder)


def first_plan(recipe: Recipe, partitions: Sequence[Partition]) -> Plan:
    """The plan of the first that has recordings. Raises NoRecordingsError if none has."""
    for partition in partitions:
        with suppress(NoRecordingsError):
            return planned(recipe, partition)
    raise NoRecordingsError(f"no recording found in any partition of {', '.join(recipe.inputs)}")


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
    before = parts_of_latest(dataset)
    replaced = set() if only else set(before)
    parts: dict[str, PartitionVersion] = {}
    seconds: dict[str, float] = {}
    for number, partition in enumerate(partitions, 1):
        on_progress(f"partition {partition.name}, {number} of {len(partitions)}")
        try:
            plan = planned(recipe, partition)
        except NoRecordingsError:
            on_progress(f"partition {partition.name} has no recordings")
            continue
        settings = settings_of(plan)
        stay = before.keys() - replaced - {each.name for each in partitions}
        _refuse_other_settings(settings, [before[name] for name in stay])
        built = build(plan, retry, recorder)
        del plan  # before the next one is made
        parts[partition.name] = part_of(partition.name, built.manifest, settings)
        for name, spent in built.seconds.items():
            seconds[name] = round(seconds.get(name, 0.0) + spent, 3)
    if not parts:
        raise NoRecordingsError(f"no recording found in any partition of {', '.join(recipe.inputs)}")
    while True:  # until no other build publishes at the same time
        latest = parts_of_latest(dataset)
        others = {name: part for name, part in latest.items() if name not in replaced}
        manifest = head_of(recipe, dataset, others | parts)
        new = dataset.put_new(layout.manifest(manifest.version), stored_manifest(manifest))
        with suppress(TagMovedError):
            expected = version_id_of_parts(latest.values()) if latest else NONE
            tag(dataset, LATEST, manifest.version, expected)
            return Built(manifest, "published" if new else "nothing new", seconds)


def parts_of_latest(dataset: Store) -> dict[str, PartitionVersion]:
    """Partition -> its part of the latest version. Raises SetupError if that was built without partitions."""
    version = tags_of(dataset).get(LATEST) if not dataset.is_local or dataset.directory.is_dir() else None
    if version is None:
        return {}
    head = head_at(dataset, version).manifest
    if not head.parts:
        raise SetupError(
            f"{dataset.uri} has versions without partitions: give the recipe another `name`, or remove "
            "`partitions`"
        )
    return {part.partition: part for part in head.parts}


def part_of(partition: str, manifest: Manifest, settings: str) -> PartitionVersion:
    return PartitionVersion(
        partition=partition,
        version=manifest.version,
        settings=settings,
        shards=len(manifest.shards),
        bytes=manifest.bytes,
    )


def settings_of(plan: Plan) -> str:
    """Hash of everything but the inputs that determines the outputs of a plan. That of a stored version
    says less: equal outputs of other settings are the same version."""
    return digest([plan.pack, {stage.name: stage.fingerprint for stage in plan.stages}])


def _refuse_other_settings(settings: str, others: Iterable[PartitionVersion]) -> None:
    if other := next((part for part in others if part.settings != settings), None):
        raise SetupError(
            f"the partition {other.partition} was built with different settings, of another recipe or "
            "release: build without --partition, so that all have those of the recipe"
        )


def head_of(recipe: Recipe, dataset: Store, parts: Mapping[str, PartitionVersion]) -> Manifest:
    """The head of the versions of partitions, which are kept from now on as long as it is.

    Raises SetupError if they were built with different settings.
    """
    total: Manifest | None = None
    ordered = [parts[name] for name in sorted(parts)]
    _refuse_other_settings(ordered[-1].settings, ordered)
    for part in ordered:
        own = version_at(_of(dataset, part.partition), part.version).manifest
        total = own if total is None else _added(total, own)
    assert total is not None
    version = version_id_of_parts(ordered)
    for part in ordered:
        use = json.dumps({"kind": PART_OF, "version": version}).encode()
        record_use(_of(dataset, part.partition), part.version, f"{version}.json", use)
    own_values = {
        "dataset": recipe.name,
        "version": version,
        "plan": digest([version, ordered[0].settings]),
        "code_version": code_version(),
        "recipe": recipe.content(),
        # A part whose outputs didn't change may have been stored by earlier ones.
        "stages": {stage.name: stage.fingerprint for stage in plan_stages(recipe)},
    }
    return total.model_copy(update={**own_values, "ledgers": [], "shards": [], "files": [], "parts": ordered})


def _of(dataset: Store, partition: str) -> Store:
    return Store(dataset.join(layout.partition(partition)))


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
            "songs": {name: round(seconds, 3) for name, seconds in sums["songs"].items()},
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
