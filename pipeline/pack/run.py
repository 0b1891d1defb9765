"""Pack: from annotations to shards, no model and in minutes, again for every threshold.

One task packs one group into whole shards. A group's files lie under the hash of all that went into them,
so a group that nothing touched is never packed twice.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipeline.config.recipe import Recipe, digest
from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.inputs.texts import read_texts
from pipeline.models import resolve
from pipeline.pack.global_decisions import decide, prompts_of
from pipeline.pack.group_packer import SPLITS, Packing
from pipeline.pack.groups import Decisions, Group, cut
from pipeline.pack.preferences import annotated_codes, recordings_in, sampled_pairs, sampled_recordings
from pipeline.planning.plan import Plan
from pipeline.storage.store import Store
from schemas.arrow import table_of
from schemas.recording import Recording
from schemas.sample import Clip, Pair, Sample
from schemas.turn import IndexRow, SetAsideRow, TurnRow
from schemas.vocabulary import Modality, Vocabulary
from stages.shard import shuffle_key, write_shards
from stages.stage import SAMPLE_RATE, Samples

__all__ = ["SPLITS", "Group", "Packed", "flac_of", "groups_of", "pack_group", "vocabulary_of"]


Flac = Callable[[Sample], bytes | None]
"""The audio of a sample's clips, one after another; None for a sample without any."""


@dataclass(frozen=True)
class Packed:
    """What a group came to, also its `summary.json`."""

    folder: str
    shards: list[dict[str, Any]]
    recordings: dict[str, int]
    texts: dict[str, int]
    """Rows of text by what became of them."""
    turns: dict[str, int]
    set_aside: dict[str, int]
    samples: dict[str, int]
    tokens: dict[str, int]
    family_tokens: dict[str, int]
    left_out: dict[str, int]
    """Family -> tokens over its share of the mixture."""
    not_composed: dict[str, int]
    """`family/reason` -> kept turns that this family could not use."""
    licences: dict[str, int]
    """What the sidecars of kept recordings and rows of text name as their licence."""
    audio_seconds: float
    kept_seconds: float
    rater_agreement: float | None = None
    """Krippendorff's alpha of the ratings that its pairs come from."""


def groups_of(plan: Plan) -> list[Group]:
    """The groups of a plan whose units are all committed, each with what was decided over all of them."""
    groups = cut(plan)
    decided = decide(groups, plan.recipe, plan.dataset, vocabulary_of)
    return [
        replace(
            group,
            decisions=decisions,
            fingerprint=digest({"group": group.fingerprint, "decisions": decisions.content()}),
        )
        for group, decisions in zip(groups, decided, strict=True)
    ]


def pack_group(group: Group, recipe: Recipe, dataset: Store, decode_fingerprint: str) -> Packed:
    """Pack one group, or read what it came to before."""
    folder = f"packs/{group.fingerprint}"
    try:
        return Packed(**json.loads(dataset.get(f"{folder}/summary.json")))
    except FileNotFoundError:
        pass
    packing = Packing(recipe, vocabulary_of(recipe), prompts_of(recipe), group.decisions)
    recordings = group.recordings(dataset)
    for recording in recordings:
        packing.add(recording)
    for where, row in read_texts(group.texts, recipe) if group.texts else ():
        packing.add_text(where, row)
    packing.add_contrasts()
    audio = SpooledAudio(scratch_folder(recipe.scratch), recipe.decode, decode_fingerprint)
    by_id = {r.id: replace(r, uri=group.uris[r.id]) for r in recordings}

    def flac(sample: Sample) -> bytes | None:
        clips = [_clip(audio, by_id, clip) for clip in sample.audio]
        return flac_of(np.concatenate(clips)) if clips else None

    packed = _write(packing, dataset, folder, flac)
    # Last: a group without a summary is not packed.
    dataset.put_new(f"{folder}/summary.json", json.dumps(packed.__dict__, sort_keys=True).encode())
    return packed


def pack_pairs(plan: Plan) -> Packed | None:
    """The pairs of sampled answers with their recordings, and the rows of which there is none, as a group.

    Asks the judge where the recipe names one. None for a recipe that has neither.
    """
    recipe, dataset = plan.recipe, plan.dataset
    aside = list(plan.synthesis.set_aside) if plan.synthesis else []
    if not recipe.preferences.candidates and not aside:
        return None
    vocabulary = vocabulary_of(recipe)
    found = sampled_pairs(recipe, vocabulary, annotated_codes(plan))
    packing = Packing(recipe, vocabulary, None, Decisions())
    packing.add_pairs(found.pairs)
    packing.set_aside = aside + found.set_aside
    used = recordings_in(found.pairs)
    heard = list(sampled_recordings(plan))
    for recording in heard:
        packing.add_sampled(recording, used=recording.id in used)
    made = [[pair.key, pair.record] for pair in found.pairs]
    rows = [[row.recording, row.code, row.message] for row in packing.set_aside]
    turns = [[row.key, row.status, row.text] for row in packing.turns]
    folder = f"packs/{digest({'pack': plan.pack, 'made': made, 'rows': rows, 'turns': turns})}"
    packed = _write(packing, dataset, folder, None)
    return replace(packed, rater_agreement=found.agreement)


def vocabulary_of(recipe: Recipe) -> Vocabulary:
    """The vocabulary that a recipe names."""
    path = resolve(recipe.vocabulary.tokenizer).path
    file = path / "tokenizer.json" if path.is_dir() else path
    return Vocabulary.of(recipe.vocabulary.preset, file)


def _write(packing: Packing, dataset: Store, folder: str, flac: Flac | None) -> Packed:
    """Write shards and tables of the group into the store."""
    shards: list[dict[str, Any]] = []
    index: list[IndexRow] = []
    with tempfile.TemporaryDirectory(prefix="aqaa-data-pack-") as scratch:
        for split, samples in packing.samples.items():
            samples.sort(key=lambda sample: shuffle_key(sample.key))
            by_key = {sample.key: sample for sample in samples}
            for shard in write_shards(samples, Path(scratch), split, 0, packing.recipe.shard, flac):
                name = shard.path.name
                dataset.put_new(f"{folder}/{name}", shard.path)
                shard.path.unlink()
                fields = {"name": name, "split": split, "samples": shard.samples}
                shards.append(fields | {"bytes": shard.bytes, "sha256": shard.sha256})
                index += [
                    _index(by_key[entry.key], name, split, packing.vocabulary) for entry in shard.entries
                ]
    tables: list[tuple[str, type, Sequence[Any]]] = [
        ("turns", TurnRow, packing.turns),
        ("set_aside", SetAsideRow, packing.set_aside),
        ("index", IndexRow, index),
    ]
    for table, record, rows in tables:
        buffer = BytesIO()
        pq.write_table(table_of(record, rows), buffer, compression="zstd")
        dataset.put_new(f"{folder}/{table}.parquet", buffer.getvalue())
    family_tokens: Counter[str] = Counter()
    for row in index:
        family_tokens[row.family] += row.text_tokens + row.linguistic_tokens + row.semantic_tokens
    return Packed(
        folder=folder,
        shards=shards,
        recordings=dict(packing.recordings),
        texts=dict(packing.texts),
        turns=dict(Counter(row.status for row in packing.turns)),
        set_aside=dict(Counter(f"{row.stage}/{row.code}" for row in packing.set_aside)),
        samples=dict(Counter(row.family for row in index)),
        tokens={
            name: sum(getattr(row, f"{name}_tokens") for row in index)
            for name in ("text", "linguistic", "semantic")
        },
        family_tokens=dict(family_tokens),
        left_out=dict(packing.left_out),
        not_composed=dict(packing.not_composed),
        licences=dict(packing.licences),
        audio_seconds=packing.audio_seconds,
        kept_seconds=packing.kept_seconds,
    )


def _index(sample: Sample | Pair, shard: str, split: str, vocabulary: Vocabulary) -> IndexRow:
    kinds = np.bincount(vocabulary.modality(sample.tokens), minlength=len(Modality))
    return IndexRow(
        key=sample.key,
        shard=shard,
        split=split,
        family=sample.family,
        recording=sample.record["source"]["recording"],
        language=sample.record["language"] or "",
        seconds=sum(clip.end - clip.start for clip in sample.audio),
        text_tokens=int(kinds[Modality.TEXT]),
        linguistic_tokens=int(kinds[Modality.LINGUISTIC]),
        semantic_tokens=int(kinds[Modality.SEMANTIC]),
    )


def _clip(audio: SpooledAudio, recordings: dict[str, Recording], clip: Clip) -> Samples:
    return audio.read(recordings[clip.recording], clip.track, clip.start, clip.end)


def flac_of(samples: Samples) -> bytes:
    """16-bit FLAC of samples at 16 kHz."""
    import soundfile

    buffer = BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
