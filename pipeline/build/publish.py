"""Publish: the packed groups become one version, atomically.

All writes are create-only and the manifest is written last. The version id is a hash of the outputs, so
equal outputs are the same version, no matter who built them or how often.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.build.plan_records import record_published
from pipeline.pack.kept import written
from pipeline.pack.packed_group import PackedGroup
from pipeline.pack.run import SPLITS, vocabulary_of
from pipeline.planning.plan import Plan
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.versions.provenance import code_version
from pipeline.versions.tags import tag
from schemas.arrow import schema_of
from schemas.manifest import (
    DialectCounts,
    File,
    Manifest,
    ModelUsed,
    RecordingCounts,
    Shard,
    Share,
    TextCounts,
    TurnCounts,
    version_id,
)
from schemas.turn import IndexRow, SetAsideRow, TurnRow

TABLES: dict[str, type] = {"turns": TurnRow, "set_aside": SetAsideRow, "index": IndexRow}

Pages = Callable[[Manifest, dict[str, ds.Dataset]], dict[str, bytes]]
"""Renders `README.md` and `report.html` from a manifest and the tables."""

COPIES = 16
"""Shards that an object store copies at once."""

ROW_GROUP = 50_000
"""Rows of a table in memory at a time, approximately."""


def publish(
    plan: Plan, packed: list[PackedGroup], pages: Pages, kept: Mapping[str, pa.Table] = MappingProxyType({})
) -> tuple[Manifest, bool]:
    """Write the version that these groups make up, with tables of what a partition keeps.

    Returns its manifest and whether it is new.
    """
    dataset = plan.dataset
    names = shard_names(packed)
    shards = [
        Shard(
            path=names[group.folder, shard.name],
            split=shard.split,
            samples=shard.samples,
            bytes=shard.bytes,
            sha256=shard.sha256,
        )
        for prefix in prefixes(packed)
        for group in packed
        for shard in group.shards
        if shard.prefix == prefix
    ]
    with tempfile.TemporaryDirectory(prefix="aqaa-data-publish-") as scratch:
        tables = {
            f"{name}.parquet": _joined(dataset, packed, name, names, Path(scratch)) for name in sorted(TABLES)
        }
        for name, table in kept.items():
            tables[layout.kept(name)] = written(table, Path(scratch) / f"kept-{name}.parquet")
        files = [_file(name, path) for name, path in tables.items()]
        version = version_id(shards, files)
        manifest = manifest_of(plan, packed, version, shards, files)
        folder = layout.version(version)
        new = not dataset.exists(layout.manifest(version))
        if new:
            sources = [f"{group}/{name}" for group, name in names]
            with ThreadPoolExecutor(COPIES) as pool:
                list(pool.map(dataset.copy_new, sources, [f"{folder}/{name}" for name in names.values()]))
            datasets = {name: ds.dataset(tables[f"{name}.parquet"]) for name in TABLES}
            contents: dict[str, Path | bytes] = {**tables, **pages(manifest, datasets)}
            for name, content in contents.items():
                dataset.put_new(f"{folder}/{name}", content)
            # Hash the stored files: a concurrent build of the same version may have written them first.
            files = [_stored(dataset, folder, name) for name in sorted(contents)]
            manifest = manifest.model_copy(update={"files": files})
            new = dataset.put_new(layout.manifest(version), stored_manifest(manifest))
    # As it is stored, whoever wrote it.
    manifest = Manifest.model_validate_json(dataset.get(layout.manifest(version)))
    record_published(plan, version)
    tag(dataset, "latest", version)
    return manifest, new


def shard_names(packed: list[PackedGroup]) -> dict[tuple[str, str], str]:
    """(group folder, shard name) -> path in the version, numbered consecutively within each prefix."""
    names: dict[tuple[str, str], str] = {}
    for prefix in prefixes(packed):
        alike = [(group.folder, s.name) for group in packed for s in group.shards if s.prefix == prefix]
        names |= {shard: layout.shard(prefix, index) for index, shard in enumerate(alike)}
    return names


def prefixes(packed: list[PackedGroup]) -> list[str]:
    """The prefixes of all shards, in the order of the splits."""
    found = {(SPLITS.index(shard.split), shard.prefix) for group in packed for shard in group.shards}
    return [prefix for _, prefix in sorted(found)]


def _joined(
    dataset: Store, packed: list[PackedGroup], table: str, names: dict[tuple[str, str], str], folder: Path
) -> Path:
    """Concatenate the groups' pieces of a table into one file, a few pieces in memory at a time."""
    path = folder / f"{table}.parquet"
    schema = schema_of(TABLES[table])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        pending = schema.empty_table()
        for group in packed:
            piece = pq.read_table(BytesIO(dataset.get(f"{group.folder}/{table}.parquet")))
            if table == "index":
                paths = [names[group.folder, shard] for shard in piece["shard"].to_pylist()]
                column = piece.schema.get_field_index("shard")
                piece = piece.set_column(column, "shard", pa.array(paths, pa.string()))
            pending = pa.concat_tables([pending, piece])
            if pending.num_rows >= ROW_GROUP:
                writer.write_table(pending, row_group_size=pending.num_rows)
                pending = schema.empty_table()
        if pending.num_rows:
            writer.write_table(pending, row_group_size=pending.num_rows)
    return path


def _file(name: str, path: Path) -> File:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return File(path=name, bytes=path.stat().st_size, sha256=digest)


def _stored(dataset: Store, folder: str, name: str) -> File:
    """A file of the version as it is in the store."""
    with dataset.local(f"{folder}/{name}") as path:
        return _file(name, path)


def stored_manifest(manifest: Manifest) -> bytes:
    """A manifest as it is stored."""
    content = manifest.model_dump(mode="json", exclude=None if manifest.parts else {"parts"})
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """The sum of each count, sorted by name."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def manifest_of(
    plan: Plan, packed: list[PackedGroup], version: str, shards: list[Shard], files: list[File]
) -> Manifest:
    """The manifest of the version that packed groups make up; all counts are theirs."""
    recordings, turns = summed(g.recordings for g in packed), summed(g.turns for g in packed)
    texts = summed(g.texts for g in packed)
    models = {m.reference: m for stage in plan.stages for m in stage.models}
    models[plan.vocabulary.reference] = plan.vocabulary
    committed = plan.committed()
    return Manifest(
        dataset=plan.recipe.name,
        version=version,
        plan=plan.id,
        code_version=code_version(),
        recipe=plan.recipe.content(),
        inputs=[root.__dict__ for root in plan.listing.roots],
        models=[
            ModelUsed(reference=m.reference, bytes=m.bytes, sha256=m.sha256, licence=m.licence)
            for _, m in sorted(models.items())
        ],
        stages={stage.name: stage.fingerprint for stage in plan.stages},
        ledgers=sorted(
            [file for units in committed.values() for paths in units.values() for file in paths]
            + [unit.sidecars for unit in plan.units if unit.sidecars]
        ),
        recordings=RecordingCounts(
            in_=sum(recordings.values()),
            kept=recordings.get("kept", 0),
            set_aside=recordings.get("set_aside", 0),
        ),
        turns=TurnCounts(
            diarized=sum(turns.values()),
            used=turns.get("used", 0),
            eligible=turns.get("eligible", 0),
            set_aside=turns.get("set_aside", 0),
        ),
        texts=TextCounts(
            rows=sum(texts.values()),
            used=texts.get("used", 0),
            eligible=texts.get("eligible", 0),
            set_aside=texts.get("set_aside", 0),
        ),
        set_aside=summed(g.set_aside for g in packed),
        samples=summed(g.samples for g in packed),
        not_composed=summed(g.not_composed for g in packed),
        licences=summed(g.licences for g in packed),
        audio_notes=summed(g.audio_notes for g in packed),
        companions=summed(g.companions for g in packed),
        styles=summed(g.styles for g in packed),
        voice_styles=summed(g.voice_styles for g in packed),
        dialects={
            name: DialectCounts(
                turns=sum(g.dialects.get(name, (0, 0.0))[0] for g in packed),
                seconds=round(sum(g.dialects.get(name, (0, 0.0))[1] for g in packed), 3),
            )
            for name in sorted({name for g in packed for name in g.dialects})
        },
        songs={
            name: round(sum(g.songs.get(name, 0.0) for g in packed), 3)
            for name in sorted({name for g in packed for name in g.songs})
        },
        mixture=_mixture(plan, packed),
        rater_agreement=next((g.rater_agreement for g in packed if g.rater_agreement is not None), None),
        splits=summed({shard.split: shard.samples} for shard in shards),
        tokens=summed(g.tokens for g in packed),
        audio_seconds=round(sum(g.audio_seconds for g in packed), 3),
        kept_seconds=round(sum(g.kept_seconds for g in packed), 3),
        vocabulary=vocabulary_of(plan.recipe).describe(),
        shards=shards,
        files=files,
    )


def _mixture(plan: Plan, packed: list[PackedGroup]) -> dict[str, Share]:
    weights = plan.recipe.mixture.weights
    tokens, left_out = summed(g.family_tokens for g in packed), summed(g.left_out for g in packed)
    return {
        family: Share(
            asked=round(weights[family] / sum(weights.values()), 6) if weights else None,
            got=round(tokens.get(family, 0) / max(1, sum(tokens.values())), 6),
            tokens=tokens.get(family, 0),
            left_out=left_out.get(family, 0),
        )
        for family in sorted({*tokens, *weights})
    }
