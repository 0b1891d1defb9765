"""Publish: what the groups packed becomes one version, whole or not at all.

All writes are create-only and the manifest comes last. The version's id hashes the outputs, so equal
outputs are the same version, whoever made them and however often.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.metadata import version as installed
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.pack.run import SPLITS, Packed, vocabulary_of
from pipeline.planning.plan import Plan
from pipeline.storage.store import Store
from pipeline.versions.tags import tag
from schemas.arrow import schema_of
from schemas.manifest import (
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
"""Makes `README.md` and `report.html` of a manifest and the tables."""

ROW_GROUP = 50_000
"""About so many rows of a table are in memory at a time."""


def published_as(plan: Plan) -> str | None:
    """The version that this very plan came to before, if it did."""
    try:
        version = str(json.loads(plan.dataset.get(f"plans/{plan.id}.json"))["version"])
    except FileNotFoundError:
        return None
    return version if plan.dataset.exists(f"versions/{version}/manifest.json") else None


def publish(plan: Plan, packed: list[Packed], pages: Pages) -> tuple[Manifest, bool]:
    """Write the version of these groups; the manifest, and whether the version is new."""
    dataset = plan.dataset
    names = shard_names(packed)
    shards = [
        Shard(
            path=names[group.folder, s["name"]], **{k: s[k] for k in ("split", "samples", "bytes", "sha256")}
        )
        for split in SPLITS
        for group in packed
        for s in group.shards
        if s["split"] == split
    ]
    with tempfile.TemporaryDirectory(prefix="aqaa-data-publish-") as scratch:
        tables = {
            f"{name}.parquet": _joined(dataset, packed, name, names, Path(scratch)) for name in sorted(TABLES)
        }
        files = [_file(name, path) for name, path in tables.items()]
        version = version_id(shards, files)
        manifest = _manifest(plan, packed, version, shards, files)
        folder = f"versions/{version}"
        new = not dataset.exists(f"{folder}/manifest.json")
        if new:
            for (group, name), target in names.items():
                dataset.copy_new(f"{group}/{name}", f"{folder}/{target}")
            read = {name: ds.dataset(tables[f"{name}.parquet"]) for name in TABLES}
            written: dict[str, Path | bytes] = {**tables, **pages(manifest, read)}
            for name, content in written.items():
                dataset.put_new(f"{folder}/{name}", content)
            # What lies there counts: another build of the same version may have been first.
            files = [_stored(dataset, folder, name) for name in sorted(written)]
            manifest = manifest.model_copy(update={"files": files})
            new = dataset.put_new(f"{folder}/manifest.json", _json(manifest.model_dump(mode="json")))
    if not new:
        manifest = Manifest.model_validate_json(dataset.get(f"{folder}/manifest.json"))
    dataset.put_new(f"plans/{plan.id}.json", _json({"version": version}))
    tag(dataset, "latest", version)
    return manifest, new


def shard_names(packed: list[Packed]) -> dict[tuple[str, str], str]:
    """(group folder, shard in it) -> path in the version, numbered through each split."""
    names: dict[tuple[str, str], str] = {}
    for split in SPLITS:
        mine = [(group.folder, s["name"]) for group in packed for s in group.shards if s["split"] == split]
        names |= {shard: f"shards/{split}-{index:06d}.tar" for index, shard in enumerate(mine)}
    return names


def _joined(
    dataset: Store, packed: list[Packed], table: str, names: dict[tuple[str, str], str], folder: Path
) -> Path:
    """The groups' pieces of a table, one behind another, in a file that grows piece by piece."""
    path = folder / f"{table}.parquet"
    schema = schema_of(TABLES[table])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting = schema.empty_table()
        for group in packed:
            piece = pq.read_table(BytesIO(dataset.get(f"{group.folder}/{table}.parquet")))
            if table == "index":
                paths = [names[group.folder, shard] for shard in piece["shard"].to_pylist()]
                at = piece.schema.get_field_index("shard")
                piece = piece.set_column(at, "shard", pa.array(paths, pa.string()))
            waiting = pa.concat_tables([waiting, piece])
            if waiting.num_rows >= ROW_GROUP:
                writer.write_table(waiting, row_group_size=waiting.num_rows)
                waiting = schema.empty_table()
        if waiting.num_rows:
            writer.write_table(waiting, row_group_size=waiting.num_rows)
    return path


def _file(name: str, path: Path) -> File:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return File(path=name, bytes=path.stat().st_size, sha256=digest)


def _stored(dataset: Store, folder: str, name: str) -> File:
    """What lies in the store."""
    with dataset.local(f"{folder}/{name}") as path:
        return _file(name, path)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def _manifest(
    plan: Plan, packed: list[Packed], version: str, shards: list[Shard], files: list[File]
) -> Manifest:
    recordings, turns = _sum(g.recordings for g in packed), _sum(g.turns for g in packed)
    texts = _sum(g.texts for g in packed)
    models = {m.reference: m for stage in plan.stages for m in stage.models}
    models[plan.vocabulary.reference] = plan.vocabulary
    committed = plan.committed()
    return Manifest(
        dataset=plan.recipe.name,
        version=version,
        plan=plan.id,
        code_version=installed("aqaa-data"),
        recipe=plan.recipe.content(),
        inputs=[root.__dict__ for root in plan.listing.roots],
        models=[
            ModelUsed(reference=m.reference, bytes=m.bytes, sha256=m.sha256, licence=m.licence)
            for _, m in sorted(models.items())
        ],
        stages={stage.name: stage.fingerprint for stage in plan.stages},
        ledgers=sorted(
            [file for found in committed.values() for files in found.values() for file in files]
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
        set_aside=_sum(g.set_aside for g in packed),
        samples=_sum(g.samples for g in packed),
        not_composed=_sum(g.not_composed for g in packed),
        licences=_sum(g.licences for g in packed),
        mixture=_mixture(plan, packed),
        rater_agreement=next((g.rater_agreement for g in packed if g.rater_agreement is not None), None),
        splits=_sum({s.split: s.samples} for s in shards),
        tokens=_sum(g.tokens for g in packed),
        audio_seconds=round(sum(g.audio_seconds for g in packed), 3),
        kept_seconds=round(sum(g.kept_seconds for g in packed), 3),
        vocabulary=vocabulary_of(plan.recipe).describe(),
        shards=shards,
        files=files,
    )


def _mixture(plan: Plan, packed: list[Packed]) -> dict[str, Share]:
    weights = plan.recipe.mixture.weights
    tokens, left_out = _sum(g.family_tokens for g in packed), _sum(g.left_out for g in packed)
    return {
        family: Share(
            asked=round(weights[family] / sum(weights.values()), 6) if weights else None,
            got=round(tokens.get(family, 0) / max(1, sum(tokens.values())), 6),
            tokens=tokens.get(family, 0),
            left_out=left_out.get(family, 0),
        )
        for family in sorted({*tokens, *weights})
    }
