"""Pack: from annotations to shards. Runs no model and takes minutes, so that thresholds are cheap to change.

One task packs one group into whole shards. A group's files are stored under the hash of everything that
went into them, so a group without a change is never packed twice.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
from pipeline.pack.group_packer import SPLITS, GroupPacker
from pipeline.pack.groups import Decisions, Group, cut
from pipeline.pack.kept import Kept
from pipeline.pack.packed_group import PackedGroup, PackedShard
from pipeline.pack.preferences import annotated_codes, recordings_in, sampled_pairs, sampled_recordings
from pipeline.planning.plan import Plan
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from schemas.arrow import table_of
from schemas.hashing import shuffle_key
from schemas.recording import Recording
from schemas.sample import Clip, Pair, Sample
from schemas.turn import IndexRow, SetAsideRow, TurnRow
from schemas.vocabulary import Modality, Vocabulary
from stages.shard import shard_prefix, write_shards
from stages.stage import SAMPLE_RATE, Samples

__all__ = ["SPLITS", "Group", "PackedGroup", "flac_of", "groups_of", "pack_group", "vocabulary_of"]


FlacOf = Callable[[Sample], bytes | None]
"""The audio of a sample's clips, one after another; None for a sample without audio."""


def groups_of(plan: Plan) -> list[Group]:
    """The groups of a plan whose units are all committed, each with its dataset-wide decisions."""
    return decided_groups(plan)[0]


def decided_groups(plan: Plan) -> tuple[list[Group], Kept]:
    """The same, and of a partition what it keeps."""
    groups = cut(plan)
    decided, kept = decide(groups, plan, vocabulary_of)
    return [
        replace(
            group,
            decisions=decisions,
            fingerprint=digest({"group": group.fingerprint, "decisions": decisions.content()}),
        )
        for group, decisions in zip(groups, decided, strict=True)
    ], kept


def pack_group(group: Group, recipe: Recipe, dataset: Store, decode_fingerprint: str) -> PackedGroup:
    """Pack one group, or read the summary of an earlier build that packed it."""
    folder = layout.pack(group.fingerprint)
    try:
        return PackedGroup.from_json(dataset.get(f"{folder}/{layout.SUMMARY}"))
    except FileNotFoundError:
        pass
    packer = GroupPacker(recipe, vocabulary_of(recipe), prompts_of(recipe), group.decisions)
    recordings = group.recordings(dataset)
    for recording in recordings:
        packer.add(recording)
    for where, row in read_texts(group.texts, recipe) if group.texts else ():
        packer.add_text(where, row)
    packer.add_contrasts()
    by_id = {r.id: r for r in recordings}
    with SpooledAudio(scratch_folder(recipe.scratch), recipe.decode, decode_fingerprint) as audio:

        def flac(sample: Sample) -> bytes | None:
            clips = [_clip(audio, by_id, clip) for clip in sample.audio]
            return flac_of(np.concatenate(clips)) if clips else None

        packed = _write(packer, dataset, folder, flac)
    # Written last: a group without a summary is not packed.
    dataset.put_new(f"{folder}/{layout.SUMMARY}", packed.to_json())
    return packed


def pack_pairs(plan: Plan) -> PackedGroup | None:
    """A group of the pairs of sampled answers, their recordings, and the rows without a recording or pair.

    Queries the judge if the recipe names one. None for a recipe without candidates or such rows.
    """
    recipe, dataset = plan.recipe, plan.dataset
    set_aside = list(plan.synthesis.set_aside) if plan.synthesis else []
    if not recipe.preferences.candidates and not set_aside:
        return None
    vocabulary = vocabulary_of(recipe)
    sampled = sampled_pairs(recipe, vocabulary, annotated_codes(plan))
    packer = GroupPacker(recipe, vocabulary, None, Decisions())
    packer.add_pairs(sampled.pairs)
    packer.set_aside = set_aside + sampled.set_aside
    used = recordings_in(sampled.pairs)
    recordings = list(sampled_recordings(plan))
    for recording in recordings:
        packer.add_sampled(recording, used=recording.id in used)
    pairs = [[pair.key, pair.record] for pair in sampled.pairs]
    rows = [[row.recording, row.code, row.message] for row in packer.set_aside]
    turns = [[row.key, row.status, row.text] for row in packer.turns]
    folder = layout.pack(digest({"pack": plan.pack, "made": pairs, "rows": rows, "turns": turns}))
    packed = _write(packer, dataset, folder, None)
    return replace(packed, rater_agreement=sampled.agreement)


def vocabulary_of(recipe: Recipe) -> Vocabulary:
    """The vocabulary that a recipe names."""
    named = recipe.vocabulary
    return Vocabulary.of(named.preset, resolve(named.tokenizer).path, named.options)


def _write(packer: GroupPacker, dataset: Store, folder: str, flac: FlacOf | None) -> PackedGroup:
    """Write the group's shards and tables to the store."""
    shards: list[PackedShard] = []
    index: list[IndexRow] = []
    with tempfile.TemporaryDirectory(prefix="aqaa-data-pack-") as scratch:
        for split, prefix, samples in _by_prefix(packer):
            by_key = {sample.key: sample for sample in samples}
            for shard in write_shards(samples, Path(scratch), prefix, 0, packer.recipe.shard, flac):
                name = shard.path.name
                dataset.put_new(f"{folder}/{name}", shard.path)
                shard.path.unlink()
                shards.append(PackedShard(name, split, shard.samples, shard.bytes, shard.sha256))
                index += [
                    _index_row(by_key[entry.key], name, split, packer.vocabulary) for entry in shard.entries
                ]
    tables: list[tuple[str, type, Sequence[Any]]] = [
        ("turns", TurnRow, packer.turns),
        ("set_aside", SetAsideRow, packer.set_aside),
        ("index", IndexRow, index),
    ]
    for table, record, rows in tables:
        buffer = BytesIO()
        pq.write_table(table_of(record, rows), buffer, compression="zstd")
        dataset.put_new(f"{folder}/{table}.parquet", buffer.getvalue())
    family_tokens: Counter[str] = Counter()
    for row in index:
        family_tokens[row.family] += row.text_tokens + row.linguistic_tokens + row.semantic_tokens
    return PackedGroup(
        folder=folder,
        shards=tuple(shards),
        recordings=dict(packer.recordings),
        texts=dict(packer.texts),
        turns=dict(Counter(row.status for row in packer.turns)),
        set_aside=dict(Counter(f"{row.stage}/{row.code}" for row in packer.set_aside)),
        samples=dict(Counter(row.family for row in index)),
        tokens={
            name: sum(getattr(row, f"{name}_tokens") for row in index)
            for name in ("text", "linguistic", "semantic")
        },
        family_tokens=dict(family_tokens),
        left_out=dict(packer.left_out),
        not_composed=dict(packer.not_composed),
        licences=dict(packer.licences),
        audio_seconds=packer.audio_seconds,
        kept_seconds=packer.kept_seconds,
        audio_notes=dict(+packer.audio_notes),
        companions=dict(packer.companions),
        styles=dict(packer.styles),
        voice_styles=dict(packer.voice_styles),
        dialects=packer.dialects,
        songs=dict(packer.songs),
    )


def _by_prefix(packer: GroupPacker) -> Iterator[tuple[str, str, list[Sample | Pair]]]:
    """(split, prefix of its shards, sorted samples)."""
    for split, samples in packer.samples.items():
        by_prefix: dict[str, list[Sample | Pair]] = {}
        for sample in sorted(samples, key=lambda sample: shuffle_key(sample.key)):
            prefix = shard_prefix(sample, split, packer.recipe.shard.keep_audio)
            by_prefix.setdefault(prefix, []).append(sample)
        for prefix in sorted(by_prefix):
            yield split, prefix, by_prefix[prefix]


def _index_row(sample: Sample | Pair, shard: str, split: str, vocabulary: Vocabulary) -> IndexRow:
    counts = np.bincount(vocabulary.modality(sample.tokens), minlength=len(Modality))
    return IndexRow(
        key=sample.key,
        shard=shard,
        split=split,
        family=sample.family,
        recording=sample.record["source"]["recording"],
        language=sample.record["language"] or "",
        seconds=sum(clip.end - clip.start for clip in sample.audio),
        text_tokens=int(counts[Modality.TEXT]),
        linguistic_tokens=int(counts[Modality.LINGUISTIC]),
        semantic_tokens=int(counts[Modality.SEMANTIC]),
    )


def _clip(audio: SpooledAudio, recordings: dict[str, Recording], clip: Clip) -> Samples:
    return audio.read(recordings[clip.recording], clip.track, clip.start, clip.end)


def flac_of(samples: Samples) -> bytes:
    """16-bit FLAC of 16 kHz samples."""
    import soundfile

    buffer = BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
