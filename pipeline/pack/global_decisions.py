"""The survey before packing: what can only be decided in view of the whole dataset.

First duplicates and caps, over the turns and rows that each group would keep; then the mixture, over the
samples that these would make. What a group says for it is kept, so a group that nothing touched is asked
once. A recipe that asks for none of it is not surveyed at all.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config.recipe import Recipe, digest
from pipeline.inputs.texts import TextRow, read_prompts, read_texts
from pipeline.pack.group_packer import Packing
from pipeline.pack.groups import Decisions, Group, each_group, together
from pipeline.pack.selection import refused_text, refused_turns
from pipeline.storage.store import Store
from schemas.arrow import table_of
from schemas.recording import Problem, Recording
from schemas.turn import turns_of
from schemas.vocabulary import Vocabulary
from stages.mixture import Spoken, exceeding_caps, fit_mixture
from stages.select import EvaluationPrompts, Item, Signature, duplicates, recording_item, text_item

VERSION = 1


@dataclass(frozen=True)
class Candidate:
    """A recording, turn or row that a group would keep."""

    key: str
    kind: str
    """`recording`, `turn` or `row`."""
    recording: str
    start: float
    seconds: float
    speaker: str
    language: str
    content: str | None
    """Hash of what it holds, where duplicates are looked for."""
    signature: tuple[int, ...]
    """MinHash of it; empty where it has too few words."""


@dataclass(frozen=True)
class CandidateSample:
    """A sample that a group would make."""

    key: str
    family: str
    tokens: int


VocabularyOf = Callable[[Recipe], Vocabulary]


def decide(
    groups: list[Group], recipe: Recipe, dataset: Store, vocabulary_of: VocabularyOf
) -> list[Decisions]:
    """What is decided for each group."""
    look, mixture = recipe.select.duplicates, recipe.mixture
    turns = look.recordings or look.texts or mixture.speaker_hours_max or mixture.language_hours_max
    decided = [Decisions() for _ in groups]
    if not turns and not mixture.weights:
        return decided
    with together(groups):
        if turns:
            decided = _by_turns(groups, recipe, dataset)
        if mixture.weights:
            decided = _by_samples(groups, decided, recipe, dataset, vocabulary_of)
    return decided


def _by_turns(groups: list[Group], recipe: Recipe, dataset: Store) -> list[Decisions]:
    """Duplicates and caps."""

    def candidates(group: Group) -> Iterator[Candidate]:
        return _candidates(group, recipe, dataset)

    tables = _surveyed(groups, "turns", Candidate, dataset, candidates)
    refused = _refused(pa.concat_tables(tables), recipe)
    return [
        Decisions({key: refused[key] for key in table["key"].to_pylist() if key in refused})
        for table in tables
    ]


def _by_samples(
    groups: list[Group],
    decided: list[Decisions],
    recipe: Recipe,
    dataset: Store,
    vocabulary_of: VocabularyOf,
) -> list[Decisions]:
    """What is decided already, and the mixture."""
    asked = [
        replace(group, decisions=d, fingerprint=digest([group.fingerprint, d.content()]))
        for group, d in zip(groups, decided, strict=True)
    ]

    def samples(group: Group) -> list[CandidateSample]:
        return _samples(group, recipe, dataset, vocabulary_of)

    tables = _surveyed(asked, "samples", CandidateSample, dataset, samples)
    left_out = _left_out(tables, recipe)
    return [replace(d, left_out=frozenset(out)) for d, out in zip(decided, left_out, strict=True)]


def prompts_of(recipe: Recipe) -> EvaluationPrompts | None:
    """The evaluation prompts that a recipe names, if it names any."""
    config = recipe.select
    if not config.evaluation_prompts:
        return None
    return EvaluationPrompts(read_prompts(config.evaluation_prompts), config.evaluation_words)


def _surveyed(
    groups: list[Group],
    name: str,
    record: type,
    dataset: Store,
    made: Callable[[Group], Iterable[Any]],
) -> list[pa.Table]:
    """What each group says, from its file in the store, which is written where it isn't there."""

    def path(group: Group) -> str:
        return f"surveys/{digest([VERSION, group.fingerprint])}/{name}.parquet"

    def write(group: Group) -> None:
        buffer = BytesIO()
        pq.write_table(table_of(record, made(group)), buffer, compression="zstd")
        dataset.put_new(path(group), buffer.getvalue())

    each_group([group for group in groups if not dataset.exists(path(group))], write)
    return [pq.read_table(BytesIO(dataset.get(path(group)))) for group in groups]


def _candidates(group: Group, recipe: Recipe, dataset: Store) -> Iterator[Candidate]:
    prompts = prompts_of(recipe)
    for recording in group.recordings(dataset):
        yield from _of_recording(recording, recipe, prompts)
    for _, row in read_texts(group.texts, recipe) if group.texts else ():
        if isinstance(row, TextRow) and refused_text(row, recipe.select, prompts, Decisions()) is None:
            blank = Candidate(row.key, "row", row.where, 0.0, 0.0, "", row.source.language or "", None, ())
            look = recipe.select.duplicates
            yield _with(blank, text_item(row.key, row.text, look.words_min) if look.texts else None)


def _of_recording(
    recording: Recording, recipe: Recipe, prompts: EvaluationPrompts | None
) -> Iterator[Candidate]:
    look = recipe.select.duplicates
    turns = list(turns_of(recording))
    refused = refused_turns(turns, recipe, prompts, Decisions())
    kept = [turn for turn in turns if turn.index not in refused]
    if not kept:
        return
    id = recording.id
    if look.recordings:
        item = recording_item(id, kept[0].decoded.sha256, turns, look.words_min)
        yield _with(Candidate(id, "recording", id, 0.0, 0.0, "", "", None, ()), item)
    named = kept[0].metadata.get("speaker")
    for turn in kept:
        speaker = f"speaker {named}" if isinstance(named, str) and named else f"{id} {turn.turn.speaker}"
        text = turn.transcript.text if turn.transcript else ""
        language = turn.transcript.language if turn.transcript else ""
        place = (turn.turn.start, turn.turn.seconds)
        item_of_text = text_item(turn.key, text, look.words_min) if look.texts else None
        yield _with(Candidate(turn.key, "turn", id, *place, speaker, language, None, ()), item_of_text)


def _with(candidate: Candidate, item: Item | None) -> Candidate:
    if item is None:
        return candidate
    signature = () if item.signature is None else tuple(item.signature.tolist())
    return replace(candidate, content=item.content, signature=signature)


def _refused(candidates: pa.Table, recipe: Recipe) -> dict[str, Problem]:
    """Key -> why it is set aside: a duplicate, or over a cap."""
    rows = candidates.drop_columns(["signature"]).to_pylist()
    signatures = _signatures(candidates["signature"])
    refused: dict[str, Problem] = {}
    for kind, code, what in (
        ("recording", "duplicate_recording", "the same recording as {}"),
        ("turn", "duplicate_text", "nearly the same words as {}"),
        ("row", "duplicate_text", "nearly the same words as {}"),
    ):
        items = [
            Item(row["key"], row["content"], signature)
            for row, signature in zip(rows, signatures, strict=True)
            if row["kind"] == kind and row["content"] is not None and row["recording"] not in refused
        ]
        found = duplicates(items, recipe.select.duplicates.similarity)
        refused |= {key: Problem(code, what.format(survivor)) for key, survivor in found.items()}
    spoken = [
        Spoken(**{name: row[name] for name in _SPOKEN})
        for row in rows
        if row["kind"] == "turn" and row["key"] not in refused and row["recording"] not in refused
    ]
    hours = {"speaker": recipe.mixture.speaker_hours_max, "language": recipe.mixture.language_hours_max}
    for key, over in exceeding_caps(spoken, recipe.mixture).items():
        refused[key] = Problem(
            f"over_{over}_cap", f"there are {hours[over]:g} hours of its {over} without it"
        )
    return refused


_SPOKEN = [field.name for field in fields(Spoken)]


def _signatures(column: pa.ChunkedArray) -> list[Signature | None]:
    """Views into one array: a signature as Python numbers would take ten times the memory."""
    values = np.concatenate([np.empty(0, np.uint32), *(_flat(chunk) for chunk in column.chunks)])
    ends = np.cumsum(pc.list_value_length(column).to_numpy())
    starts = np.concatenate([[0], ends[:-1]])
    return [values[a:b] if b > a else None for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]


def _flat(chunk: pa.ListArray) -> Signature:
    return np.asarray(chunk.flatten().to_numpy(zero_copy_only=False), np.uint32)


def _samples(
    group: Group, recipe: Recipe, dataset: Store, vocabulary_of: VocabularyOf
) -> list[CandidateSample]:
    packing = Packing(recipe, vocabulary_of(recipe), prompts_of(recipe), group.decisions)
    for recording in group.recordings(dataset):
        packing.add(recording)
    for where, row in read_texts(group.texts, recipe) if group.texts else ():
        packing.add_text(where, row)
    return [
        CandidateSample(sample.key, sample.family, len(sample.tokens))
        for samples in packing.samples.values()
        for sample in samples
    ]


def _left_out(tables: list[pa.Table], recipe: Recipe) -> list[list[str]]:
    """For each group the keys of its samples that are over their family's share."""
    whole = pa.concat_tables(tables)
    keys = whole["key"].to_pylist()
    tokens = whole["tokens"].to_numpy().astype(np.int64)
    stay = fit_mixture(keys, whole["family"].to_pylist(), tokens, recipe.mixture.weights)
    ends = np.cumsum([table.num_rows for table in tables])
    return [
        [keys[n] for n in range(end - table.num_rows, end) if not stay[n]]
        for table, end in zip(tables, ends.tolist(), strict=True)
    ]
