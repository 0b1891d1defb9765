"""What changed between two versions, and by how much."""

from typing import Any

from pydantic import BaseModel

from pipeline.versions.reader import Version, batches
from schemas.manifest import Manifest

Pair = tuple[Any, Any]
"""A value in the first version and in the second; None if it is missing."""

NAMED = 20
"""Maximum number of added or removed recordings that are listed by name."""


class RecordingChanges(BaseModel):
    """Recordings in only one of the versions, used or set aside."""

    added: int
    removed: int
    added_names: list[str]
    removed_names: list[str]


class Difference(BaseModel):
    """Changes from version `a` to version `b`; except for counts and hours, equal values are left out."""

    a: str
    b: str
    recipe: dict[str, Pair]
    """`section.key` -> values."""
    inputs: dict[str, Pair]
    """URI -> number of recordings."""
    recordings: RecordingChanges
    models: dict[str, Pair]
    """Reference -> sha256."""
    stages: list[str]
    """Annotate stages with another fingerprint."""
    counts: dict[str, Pair]
    hours: dict[str, Pair]
    mixture: dict[str, Pair]
    """Family -> its share of all tokens, 0 to 1."""
    code_version: Pair


def difference(a: Version, b: Version) -> Difference:
    one, two = a.manifest, b.manifest
    before, after = _recordings(a), _recordings(b)
    added, removed = sorted(after - before), sorted(before - after)
    return Difference(
        a=a.id,
        b=b.id,
        recipe=changed(flat(one.recipe), flat(two.recipe)),
        inputs=changed(*({str(r["uri"]): r.get("recordings") for r in m.inputs} for m in (one, two))),
        recordings=RecordingChanges(
            added=len(added), removed=len(removed), added_names=added[:NAMED], removed_names=removed[:NAMED]
        ),
        models=changed(*({m.reference: m.sha256 for m in manifest.models} for manifest in (one, two))),
        stages=list(changed(one.stages, two.stages)),
        counts=_both(_counts(one), _counts(two)),
        hours=_both(*({"in": m.audio_seconds / 3600, "kept": m.kept_seconds / 3600} for m in (one, two))),
        mixture=changed(*({f: share.got for f, share in m.mixture.items()} for m in (one, two))),
        code_version=(one.code_version, two.code_version),
    )


def _counts(manifest: Manifest) -> dict[str, int]:
    recordings, turns = manifest.recordings, manifest.turns
    return {
        "recordings": recordings.in_,
        "recordings kept": recordings.kept,
        "turns": turns.diarized,
        "turns used": turns.used,
        "turns eligible": turns.eligible,
        "turns set aside": turns.set_aside,
        **{f"samples {family}": n for family, n in sorted(manifest.samples.items())},
        **{f"samples in {split}": n for split, n in sorted(manifest.splits.items())},
        **{f"tokens {kind}": n for kind, n in sorted(manifest.tokens.items())},
        **{f"set aside {reason}": n for reason, n in sorted(manifest.set_aside.items())},
        "shards": len(manifest.shards),
        "bytes of shards": sum(shard.bytes for shard in manifest.shards),
    }


def _recordings(version: Version) -> set[str]:
    recordings: set[str] = set()
    for name in ("turns", "set_aside"):
        with version.table(name) as table:  # type: ignore[arg-type]
            for batch in batches(table, ["recording"]):
                recordings.update(batch["recording"].unique().to_pylist())
    return recordings


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted path, such as `a.b.c`."""
    if not isinstance(value, dict) or (not value and path):
        return {path: value}
    return {
        key: inner
        for name in value
        for key, inner in flat(value[name], f"{path}.{name}" if path else str(name)).items()
    }


def _both(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Pair]:
    return {key: (a.get(key), b.get(key)) for key in dict.fromkeys([*a, *b])}


def changed(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Pair]:
    return {key: pair for key, pair in _both(a, b).items() if pair[0] != pair[1]}
