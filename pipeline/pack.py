"""Pack: from annotations to shards, no model and in minutes, again for every threshold.

Units whose ids begin alike make a group; one task packs one group into whole shards. A group's files
lie under the hash of all that went into them, so a group that nothing touched is never packed twice.
"""

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipeline.ledger import Ledger
from pipeline.models import resolve
from pipeline.plan import Plan
from pipeline.recipe import Recipe, digest
from pipeline.source import SpooledAudio, scratch_folder
from pipeline.storage import Store
from schemas.arrow import table_of
from schemas.errors import DataError
from schemas.recording import Problem, Recording
from schemas.sample import Clip, Sample
from schemas.turn import AnnotatedTurn, IndexRow, SetAsideRow, TurnRow, turns_of
from schemas.vocabulary import Modality, Vocabulary
from stages.compose import FAMILIES, Kind, Source, compose, label, of_turns, passages
from stages.converse import Conversation, converse
from stages.interleave import lay_out
from stages.select import admit, select
from stages.shard import group_of, mixed, split_of, write_shards
from stages.stage import SAMPLE_RATE, Samples

UNITS_A_GROUP = 16
"""About so many; a group is held in memory while it is packed."""

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Group:
    """What one task packs."""

    prefix: str
    """The bits that the group's unit ids begin with; empty for the only group."""
    units: tuple[str, ...]
    files: tuple[dict[str, list[str]], ...]
    """Ledger files of each unit, by stage."""
    uris: dict[str, str]
    """Recording id -> where it lies now, for the audio."""
    fingerprint: str


@dataclass(frozen=True)
class Packed:
    """What a group came to, also its `summary.json`."""

    folder: str
    shards: list[dict[str, Any]]
    recordings: dict[str, int]
    turns: dict[str, int]
    set_aside: dict[str, int]
    samples: dict[str, int]
    tokens: dict[str, int]
    not_composed: dict[str, int]
    """`family/reason` -> kept turns that this family could not use."""
    licences: dict[str, int]
    """What the sidecars of kept recordings name as their licence."""
    audio_seconds: float
    kept_seconds: float


def groups_of(plan: Plan) -> list[Group]:
    """The groups of a plan whose units are all committed, in order of their prefix."""
    committed = plan.committed()
    bits = max(0, math.ceil(math.log2(max(1, len(plan.units) / UNITS_A_GROUP))))
    units: dict[str, list[Any]] = {}
    for unit in plan.units:
        prefix = f"{int(unit.id, 16):064b}"[:bits]
        units.setdefault(prefix, []).append(unit)
    groups = []
    for prefix, members in sorted(units.items()):
        files = tuple({stage: found[unit.name] for stage, found in committed.items()} for unit in members)
        uris = {r.id: r.uri for unit in members for r in unit.recordings}
        fingerprint = digest({"pack": plan.pack, "files": files, "prefix": prefix})
        groups.append(Group(prefix, tuple(unit.name for unit in members), files, uris, fingerprint))
    return groups


def pack_group(group: Group, recipe: Recipe, dataset: Store, decode_fingerprint: str) -> Packed:
    """Pack one group, or read what it came to before."""
    folder = f"packs/{group.fingerprint}"
    try:
        return Packed(**json.loads(dataset.get(f"{folder}/summary.json")))
    except FileNotFoundError:
        pass
    audio = SpooledAudio(scratch_folder(recipe.scratch), recipe.decode, decode_fingerprint)
    ledger = Ledger(dataset)
    recordings = [r for files in group.files for r in ledger.recordings(files)]
    packing = _Packing(recipe, vocabulary_of(recipe))
    for recording in sorted(recordings, key=lambda r: r.id):
        packing.add(recording)
    by_id = {r.id: replace(r, uri=group.uris[r.id]) for r in recordings}

    def flac(sample: Sample) -> bytes:
        return flac_of(np.concatenate([_clip(audio, by_id, clip) for clip in sample.audio]))

    packed = packing.write(dataset, folder, flac)
    # Last: a group without a summary is not packed.
    dataset.put_new(f"{folder}/summary.json", json.dumps(packed.__dict__, sort_keys=True).encode())
    return packed


def vocabulary_of(recipe: Recipe) -> Vocabulary:
    """The vocabulary that a recipe names."""
    path = resolve(recipe.vocabulary.tokenizer).path
    file = path / "tokenizer.json" if path.is_dir() else path
    return Vocabulary.step1(file) if recipe.vocabulary.preset == "step1" else Vocabulary.embedded(file)


class _Packing:
    """One group in the making: samples by split, and a row for everything that was or was not used."""

    def __init__(self, recipe: Recipe, vocabulary: Vocabulary) -> None:
        self.recipe = recipe
        self.vocabulary = vocabulary
        self.samples: dict[str, list[Sample]] = {split: [] for split in SPLITS}
        self.turns: list[TurnRow] = []
        self.set_aside: list[SetAsideRow] = []
        self.recordings: Counter[str] = Counter()
        self.not_composed: Counter[str] = Counter()
        self.licences: Counter[str] = Counter()
        self.audio_seconds = 0.0
        self.kept_seconds = 0.0

    def add(self, recording: Recording) -> None:
        """Choose, pair and compose one recording's turns, and note the fate of each."""
        if recording.decode and recording.decode.result:
            self.audio_seconds += recording.decode.result.seconds
        turns = list(turns_of(recording))
        refused = {turn.index: problem for turn in turns if (problem := select(turn, self.recipe.select))}
        kept = [turn for turn in turns if turn.index not in refused]
        used: set[int] = set()
        if kept:
            used = self._compose(turns, kept)
            self.licences[_licence(kept[0].metadata)] += 1
        self.recordings["kept" if kept else "set_aside"] += 1
        if not kept:
            self._recording_aside(recording, Counter(p.code for p in refused.values()))
        for turn in turns:
            problem = refused.get(turn.index)
            status = "used" if turn.index in used else "set_aside" if problem else "eligible"
            stage = (turn.stage or "select") if problem else None
            if problem and not recording.set_aside:
                times = (turn.turn.start, turn.turn.end)
                self.set_aside.append(
                    SetAsideRow(recording.id, turn.index, *times, stage or "", problem.code, problem.message)
                )
            if not problem:
                self.kept_seconds += turn.turn.seconds
            self.turns.append(_row(turn, status, stage, problem))

    def _recording_aside(self, recording: Recording, reasons: Counter[str]) -> None:
        """A row for a recording of which nothing is kept: its own problem, else what befell its turns."""
        told = next(((stage, p) for stage, p in recording.problems if p.turn is None), None)
        if told is None and (refused := admit(recording.id, recording.sidecar, self.recipe.select)):
            told = ("select", refused)
        if told is None:
            each = ", ".join(f"{count} {code}" for code, count in reasons.most_common())
            told = ("select", Problem("no_turn_kept", f"none of its turns was kept: {each or 'it has none'}"))
        decoded = recording.decode.result if recording.decode else None
        start, end = (0.0, decoded.seconds) if decoded else (None, None)
        stage, problem = told
        row = SetAsideRow(recording.id, None, start, end, stage, problem.code, problem.message)
        self.set_aside.append(row)

    def _compose(self, turns: list[AnnotatedTurn], kept: list[AnnotatedTurn]) -> set[int]:
        """Add the samples of a recording's kept turns; the indices of those that some sample uses."""
        talk = converse(turns, {turn.index for turn in kept}, self.recipe.converse)
        group = group_of(kept[0].recording, kept[0].metadata, self.recipe.shard.split_by)
        split = split_of(group, self.recipe.shard.validation_share, self.recipe.shard.split_seed)
        sources = self._sources(turns, kept, talk)
        used: set[int] = set()
        for family in self.recipe.compose.families:
            kind, _ = FAMILIES[family]
            if kind == "exchange":
                self.not_composed.update({f"{family}/{code}": n for code, n in talk.reasons.items()})
            for source in sources[kind]:
                try:
                    draft = compose(family, source, self.recipe.compose)
                    self.samples[split].append(lay_out(draft, self.vocabulary, self.recipe.interleave))
                except DataError as error:  # another family may use it
                    self.not_composed[f"{family}/{error.code}"] += 1
                    continue
                used.update(source.turns)
        return used

    def _sources(
        self, turns: list[AnnotatedTurn], kept: list[AnnotatedTurn], talk: Conversation
    ) -> dict[Kind, list[Source]]:
        """What samples of a recording can be made of."""
        config = self.recipe.compose
        labels = label(turns, config.labels)
        asked = {pair.answer.index: pair for pair in talk.pairs}
        halves = []
        for first, second in passages(turns, {turn.index for turn in kept}, config):
            pair = asked.get(first.index)
            question, history = (pair.question, pair.history) if pair else (None, ())
            halves.append(of_turns([first, second], question, history, labels))
        return {
            "turn": [of_turns([turn], labels=labels) for turn in kept],
            "exchange": [of_turns([p.answer], p.question, p.history, labels) for p in talk.pairs],
            "passage": halves,
            "document": [],
        }

    def write(self, dataset: Store, folder: str, flac: Callable[[Sample], bytes]) -> Packed:
        """Write shards and tables of the group into the store."""
        shards: list[dict[str, Any]] = []
        index: list[IndexRow] = []
        with tempfile.TemporaryDirectory(prefix="aqaa-data-pack-") as scratch:
            for split, samples in self.samples.items():
                samples.sort(key=lambda sample: mixed(sample.key))
                by_key = {sample.key: sample for sample in samples}
                for shard in write_shards(samples, Path(scratch), split, 0, self.recipe.shard, flac):
                    name = shard.path.name
                    dataset.put_new(f"{folder}/{name}", shard.path)
                    shard.path.unlink()
                    fields = {"name": name, "split": split, "samples": shard.samples}
                    shards.append(fields | {"bytes": shard.bytes, "sha256": shard.sha256})
                    index += [self._index(by_key[entry.key], name, split) for entry in shard.entries]
        tables: list[tuple[str, type, Sequence[Any]]] = [
            ("turns", TurnRow, self.turns),
            ("set_aside", SetAsideRow, self.set_aside),
            ("index", IndexRow, index),
        ]
        for table, record, rows in tables:
            buffer = BytesIO()
            pq.write_table(table_of(record, rows), buffer, compression="zstd")
            dataset.put_new(f"{folder}/{table}.parquet", buffer.getvalue())
        return Packed(
            folder=folder,
            shards=shards,
            recordings=dict(self.recordings),
            turns=dict(Counter(row.status for row in self.turns)),
            set_aside=dict(Counter(f"{row.stage}/{row.code}" for row in self.set_aside)),
            samples=dict(Counter(row.family for row in index)),
            tokens={
                name: sum(getattr(row, f"{name}_tokens") for row in index)
                for name in ("text", "linguistic", "semantic")
            },
            not_composed=dict(self.not_composed),
            licences=dict(self.licences),
            audio_seconds=self.audio_seconds,
            kept_seconds=self.kept_seconds,
        )

    def _index(self, sample: Sample, shard: str, split: str) -> IndexRow:
        kinds = np.bincount(self.vocabulary.modality(sample.tokens), minlength=len(Modality))
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


def _row(turn: AnnotatedTurn, status: str, stage: str | None, problem: Any) -> TurnRow:
    transcript = turn.transcript
    return TurnRow(
        key=turn.key,
        recording=turn.recording,
        index=turn.index,
        start=turn.turn.start,
        end=turn.turn.end,
        speaker=turn.turn.speaker,
        track=turn.turn.track,
        status=status,
        stage=stage,
        code=problem.code if problem else None,
        message=problem.message if problem else None,
        text=transcript.text if transcript else None,
        language=transcript.language if transcript else None,
        transcript=transcript,
        assessment=turn.assessment,
        linguistic_codes=len(turn.codes.linguistic) if turn.codes else 0,
        semantic_codes=len(turn.codes.semantic) if turn.codes else 0,
    )


def _licence(sidecar: dict[str, Any]) -> str:
    named = sidecar.get("licence") or sidecar.get("license")
    return str(named) if named else "not stated"


def _clip(audio: SpooledAudio, recordings: dict[str, Recording], clip: Clip) -> Samples:
    return audio.read(recordings[clip.recording], clip.track, clip.start, clip.end)


def flac_of(samples: Samples) -> bytes:
    """16-bit FLAC of samples at 16 kHz."""
    import soundfile

    buffer = BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
