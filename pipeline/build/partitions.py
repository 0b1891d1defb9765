"""A build in partitions: each is a dataset of its own under `partitions/`, and the version of all lists their
versions. The driver holds one partition at a time.

Of what is decided over a whole dataset, speakers and the mixture are decided in each partition. Duplicates
and caps hold over all: the partitions come in the order of their names, and each takes account of what those
before it keep. So it is packed after them, and again when what they keep changes; a new one at the end
changes none.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

from pipeline.build.publish import stored_manifest, summed
from pipeline.build.run import Built, annotate_alone, build
from pipeline.config.recipe import Recipe, digest
from pipeline.inputs.listing import NoRecordingsError
from pipeline.inputs.partitions import Partition, partitions_of
from pipeline.monitoring.recorder import BuildRecorder
from pipeline.planning.plan import Plan, kept_by, make_plan, plan_stages
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.versions.gc import PART_OF, record_use
from pipeline.versions.provenance import code_version
from pipeline.versions.reader import LATEST, head_at, tags_of, version_at
from pipeline.versions.tags import NONE, TagMovedError, tag
from schemas.errors import SetupError
from schemas.manifest import DialectCounts, Manifest, PartitionVersion, Share, version_id_of_parts

Progress = Callable[[str], None]

Parts = Mapping[str, PartitionVersion]
"""Partition -> its part of a version of all."""


def planned(recipe: Recipe, partition: Partition, parts: Parts = MappingProxyType({})) -> Plan:
    """The plan of a partition, which takes account of those `parts` that are before it.

    Raises SetupError, NoRecordingsError if its folder has no recording.
    """
    changed = {
        "name": partition.name,
        "inputs": partition.inputs,
        "output": f"{recipe.output}/{recipe.name}/{layout.PARTITIONS}",
        "partitions": None,
    }
    plan = make_plan(recipe.model_copy(update=changed), folder=partition.folder)
    if not recipe.decides_over_all:
        return plan
    return replace(plan, earlier=tuple(parts[name] for name in sorted(parts) if name < partition.name))


def first_plan(recipe: Recipe, partitions: Sequence[Partition]) -> Plan:
    """The plan of the first that has recordings. Raises NoRecordingsError if none has."""
    parts = parts_of_latest(Store(f"{recipe.output}/{recipe.name}"))
    for partition in partitions:
        with suppress(NoRecordingsError):
            return planned(recipe, partition, parts)
    raise NoRecordingsError(f"no recording found in any partition of {', '.join(recipe.inputs)}")


def chosen(recipe: Recipe, only: Sequence[str]) -> list[Partition]:
    """The recipe's partitions, or those named `only`, sorted. Raises SetupError for a name that none has."""
    assert recipe.partitions is not None
    if recipe.limit_hours is not None:
        raise SetupError(
            "a limit of hours is for builds without partitions: for a pilot, name folders with --partition"
        )
    found = partitions_of(recipe.inputs, recipe.partitions.folders)
    partitions = sorted(found, key=lambda partition: partition.name)
    names = [partition.name for partition in partitions]
    if unknown := [name for name in only if name not in names]:
        raise SetupError(f"no partition is called {unknown[0]}: there is {_listed(names)}")
    return [partition for partition in partitions if not only or partition.name in only]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def build_partitions(
    recipe: Recipe,
    only: Sequence[str] = (),
    retry: bool = False,
    recorder: BuildRecorder | None = None,
    on_progress: Progress = lambda line: None,
) -> Built:
    """Build the partitions one after another, and publish a version of all of them.

    With `only`, the other parts are those of the latest version, so that several builds may each make some.
    Raises SetupError: as of any build, if the others were built with other settings, or if some are annotated
    and can't be packed before others are built.
    """
    dataset = Store(f"{recipe.output}/{recipe.name}")
    partitions = chosen(recipe, only)
    everyone = chosen(recipe, ()) if only else []
    before = parts_of_latest(dataset)
    replaced = set() if only else set(before)
    parts: dict[str, PartitionVersion] = {}
    seconds: dict[str, float] = {}
    waiting: dict[str, list[str]] = {}
    for number, partition in enumerate(partitions, 1):
        on_progress(f"partition {partition.name}, {number} of {len(partitions)}")
        known = {name: part for name, part in before.items() if name not in replaced} | parts
        try:
            plan = planned(recipe, partition, known)
        except NoRecordingsError:
            on_progress(f"partition {partition.name} has no recordings")
            continue
        settings = settings_of(plan)
        stay = before.keys() - replaced - {each.name for each in partitions}
        _refuse_other_settings(settings, [before[name] for name in stay])
        if _missing(recipe, partition, everyone, known):
            annotate_alone(plan, retry, recorder)
            known = {**parts_of_latest(dataset), **parts}  # others may have been built in the meantime
            if missing := _missing(recipe, partition, everyone, known):
                waiting[partition.name] = missing
                continue
            plan = planned(recipe, partition, known)
        built = build(plan, retry, recorder)
        parts[partition.name] = part_of(partition.name, built.manifest, plan)
        del plan  # before the next one is made
        for name, spent in built.seconds.items():
            seconds[name] = round(seconds.get(name, 0.0) + spent, 3)
    whole = _published(recipe, dataset, parts, replaced, seconds) if parts else None
    if waiting:
        missing = sorted({name for names in waiting.values() for name in names} - waiting.keys())
        raise SetupError(
            f"annotated, and not packed yet: {_listed([*waiting])}. Duplicates and caps depend on what the "
            f"partitions before them keep, and these aren't built: {_listed(missing)}. Build them first, or "
            "all without --partition: nothing is annotated twice"
        )
    if whole is None:
        raise NoRecordingsError(f"no recording found in any partition of {', '.join(recipe.inputs)}")
    return whole


def _missing(recipe: Recipe, partition: Partition, everyone: Sequence[Partition], known: Parts) -> list[str]:
    """The partitions before one that it depends on and that aren't built."""
    if not recipe.decides_over_all:
        return []
    earlier = (other for other in everyone if other.name < partition.name)
    missing = [other for other in earlier if other.name not in known or not known[other.name].kept]
    return [other.name for other in missing] if any(_has_recordings(recipe, each) for each in missing) else []


def _has_recordings(recipe: Recipe, partition: Partition) -> bool:
    try:
        planned(recipe, partition)
    except NoRecordingsError:
        return False
    return True


def _published(
    recipe: Recipe, dataset: Store, parts: Parts, replaced: set[str], seconds: dict[str, float]
) -> Built:
    """Publish these parts with those of the latest version that they don't replace."""
    while True:  # until no other build publishes at the same time
        latest = parts_of_latest(dataset)
        others = {name: part for name, part in latest.items() if name not in replaced}
        manifest = head_of(recipe, dataset, {**others, **parts})
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


def part_of(partition: str, manifest: Manifest, plan: Plan) -> PartitionVersion:
    kept = [[file.path, file.sha256] for file in manifest.files if layout.is_kept(file.path)]
    return PartitionVersion(
        partition=partition,
        version=manifest.version,
        settings=settings_of(plan),
        shards=len(manifest.shards),
        bytes=manifest.bytes,
        kept=digest(kept) if plan.after else "",
        after=plan.after,
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


def _refuse_outdated(recipe: Recipe, ordered: Sequence[PartitionVersion]) -> None:
    for number, part in enumerate(ordered):
        if recipe.decides_over_all and part.after != kept_by(ordered[:number]):
            raise SetupError(
                f"what the partitions before {part.partition} keep has changed since it was packed, and its "
                "duplicates and caps depend on it: build without --partition, which packs it again"
            )


def head_of(recipe: Recipe, dataset: Store, parts: Parts) -> Manifest:
    """The head of the versions of partitions, which are kept from now on as long as it is.

    Raises SetupError if they were built with different settings, or one after others than those before it.
    """
    total: Manifest | None = None
    ordered = [parts[name] for name in sorted(parts)]
    _refuse_other_settings(ordered[-1].settings, ordered)
    _refuse_outdated(recipe, ordered)
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
