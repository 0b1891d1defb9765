"""Decisions that need a view of the whole dataset, made before packing: duplicates, caps and the mixture.

In a partition, duplicates and caps take account of what those before it keep. Its own duplicates are found
first, and what is left of them is compared with the others.

Duplicates and caps are decided first, over the turns and rows that each group would keep; the mixture
second, over the samples that would be made of the rest. Each group is surveyed for both, and its survey is
stored, so an unchanged group is surveyed once. A recipe without these settings needs no survey.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config.recipe import Recipe, digest
from pipeline.inputs.texts import TextRow, read_prompts, read_texts
from pipeline.pack.corrections import corrected_turns
from pipeline.pack.group_packer import GroupPacker
from pipeline.pack.groups import Decisions, Group, each_group, needs_ray, shared_ray
from pipeline.pack.identities import SpeakerRow, identities_of, speaker_key, speaker_rows
from pipeline.pack.kept import HOURS, NAMED_SPEAKER, EarlierPartitions, Kept, hours_table, sketch_table
from pipeline.pack.selection import refused_text, refused_turns
from pipeline.planning.plan import Plan
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from schemas.arrow import table_of
from schemas.recording import Problem, Recording
from schemas.turn import turns_of
from schemas.vocabulary import Vocabulary
from stages.compose import dialect_in
from stages.mixture import MixtureTurn, exceeding_caps, fit_mixture
from stages.select import EvaluationPrompts, Item, Signature, duplicates, recording_item, text_item

VERSION = 2


@dataclass(frozen=True)
class SurveyRow:
    """A recording, turn or row of text that a group would keep."""

    key: str
    kind: str
    """`recording`, `turn` or `row`."""
    recording: str
    start: float
    seconds: float
    speaker: str
    language: str
    dialect: str | None
    content: str | None
    """Hash of its content; None where no duplicates are searched for."""
    signature: tuple[int, ...]
    """MinHash of its words; empty if it has too few of them."""


@dataclass(frozen=True)
class SurveySample:
    """A sample that a group would make."""

    key: str
    family: str
    tokens: int


Surveyed = list[tuple[dict[str, Any], Signature | None]]
"""The fields of each `SurveyRow`, and its signature."""

VocabularyOf = Callable[[Recipe], Vocabulary]


def decide(groups: list[Group], plan: Plan, vocabulary_of: VocabularyOf) -> tuple[list[Decisions], Kept]:
    """The decisions for each group, in the order of the groups, and what a partition keeps."""
    recipe, dataset = plan.recipe, plan.dataset
    decided: list[Decisions] = [Decisions() for _ in groups]
    kept: Kept = {}
    if not (recipe.decides_over_all or recipe.mixture.weights or recipe.identify.is_used):
        return decided, kept
    with shared_ray(groups):
        if recipe.identify.is_used:
            decided = _identify(groups, recipe, dataset)
            groups = _with_decisions(groups, decided)
        if recipe.decides_over_all:
            decided, kept = _refuse_duplicates_and_excess(groups, plan)
        if recipe.mixture.weights:
            decided = _leave_out_of_mixture(groups, decided, recipe, dataset, vocabulary_of)
    return decided, kept


def _identify(groups: list[Group], recipe: Recipe, dataset: Store) -> list[Decisions]:
    """Decide who the speakers are."""

    def survey(group: Group) -> Iterator[SpeakerRow]:
        return speaker_rows(group, dataset)

    tables = _surveys(groups, "speakers", SpeakerRow, dataset, survey)
    found = identities_of(pa.concat_tables(tables), recipe)
    return [
        Decisions(identities={key: found[key] for key in table["key"].to_pylist() if key in found})
        for table in tables
    ]


def _with_decisions(groups: list[Group], decided: list[Decisions]) -> list[Group]:
    """The groups with what is decided so far, on which their next survey depends."""
    return [
        replace(group, decisions=d, fingerprint=digest([group.fingerprint, d.content()]))
        for group, d in zip(groups, decided, strict=True)
    ]


def _refuse_duplicates_and_excess(groups: list[Group], plan: Plan) -> tuple[list[Decisions], Kept]:
    """Decide on duplicates and on turns that exceed a cap."""
    recipe, dataset = plan.recipe, plan.dataset

    def survey(group: Group) -> Iterator[SurveyRow]:
        return _survey_rows(group, recipe, dataset)

    tables = _surveys(groups, "turns", SurveyRow, dataset, survey)
    surveyed = _surveyed(pa.concat_tables(tables))
    refused = _refused(surveyed, recipe, EarlierPartitions(plan, needs_ray(groups)))
    kept = _kept(surveyed, refused, recipe) if plan.earlier is not None else {}
    return [
        replace(
            group.decisions, refused={key: refused[key] for key in table["key"].to_pylist() if key in refused}
        )
        for group, table in zip(groups, tables, strict=True)
    ], kept


def _leave_out_of_mixture(
    groups: list[Group],
    decided: list[Decisions],
    recipe: Recipe,
    dataset: Store,
    vocabulary_of: VocabularyOf,
) -> list[Decisions]:
    """Add the samples that exceed their family's share to what is decided already."""
    decided_groups = _with_decisions(groups, decided)

    def survey(group: Group) -> list[SurveySample]:
        return _survey_samples(group, recipe, dataset, vocabulary_of)

    tables = _surveys(decided_groups, "samples", SurveySample, dataset, survey)
    left_out = _left_out(tables, recipe)
    return [replace(d, left_out=frozenset(keys)) for d, keys in zip(decided, left_out, strict=True)]


def prompts_of(recipe: Recipe) -> EvaluationPrompts | None:
    """The evaluation prompts that a recipe names; None if it names none."""
    config = recipe.select
    if not config.evaluation_prompts:
        return None
    return EvaluationPrompts(read_prompts(config.evaluation_prompts), config.evaluation_words)


def _surveys(
    groups: list[Group],
    name: str,
    record: type,
    dataset: Store,
    survey: Callable[[Group], Iterable[Any]],
) -> list[pa.Table]:
    """The survey of each group, read from the store; groups without one are surveyed first."""

    def path(group: Group) -> str:
        return layout.survey(digest([VERSION, group.fingerprint]), name)

    def write(group: Group) -> None:
        buffer = BytesIO()
        pq.write_table(table_of(record, survey(group)), buffer, compression="zstd")
        dataset.put_new(path(group), buffer.getvalue())

    each_group([group for group in groups if not dataset.exists(path(group))], write)
    return [pq.read_table(BytesIO(dataset.get(path(group)))) for group in groups]


def _survey_rows(group: Group, recipe: Recipe, dataset: Store) -> Iterator[SurveyRow]:
    prompts = prompts_of(recipe)
    for recording in group.recordings(dataset):
        yield from _rows_of_recording(recording, recipe, prompts, group.decisions)
    for _, row in read_texts(group.texts, recipe) if group.texts else ():
        if isinstance(row, TextRow) and refused_text(row, recipe.select, prompts, Decisions()) is None:
            surveyed = SurveyRow(
                row.key, "row", row.where, 0.0, 0.0, "", row.source.language or "", None, None, ()
            )
            config = recipe.select.duplicates
            item = text_item(row.key, row.text, config.words_min) if config.texts else None
            yield _with_item(surveyed, item)


def _rows_of_recording(
    recording: Recording, recipe: Recipe, prompts: EvaluationPrompts | None, decisions: Decisions
) -> Iterator[SurveyRow]:
    config = recipe.select.duplicates
    annotated = list(turns_of(recording))
    turns = corrected_turns(annotated, recipe.select)
    refused = refused_turns(turns, recipe, prompts, Decisions())
    kept = [turn for turn in turns if turn.index not in refused]
    if not kept:
        return
    id = recording.id
    if config.recordings:
        item = recording_item(id, kept[0].decoded.sha256, annotated, config.words_min)
        yield _with_item(SurveyRow(id, "recording", id, 0.0, 0.0, "", "", None, None, ()), item)
    named = kept[0].metadata.get("speaker")
    for turn in kept:
        key = speaker_key(id, turn.turn.speaker)
        who = named if isinstance(named, str) and named else None
        if identity := decisions.identities.get(key):
            who = identity.name
        speaker = f"{NAMED_SPEAKER}{who}" if who else key
        text = turn.transcript.text if turn.transcript else ""
        language = turn.transcript.language if turn.transcript else ""
        start, seconds = turn.turn.start, turn.turn.seconds
        dialect = dialect_in(turn, recipe.compose.labels)
        surveyed = SurveyRow(turn.key, "turn", id, start, seconds, speaker, language, dialect, None, ())
        yield _with_item(surveyed, text_item(turn.key, text, config.words_min) if config.texts else None)


def _with_item(row: SurveyRow, item: Item | None) -> SurveyRow:
    if item is None:
        return row
    signature = () if item.signature is None else tuple(item.signature.tolist())
    return replace(row, content=item.content, signature=signature)


def _refused(surveyed: Surveyed, recipe: Recipe, earlier: EarlierPartitions) -> dict[str, Problem]:
    """Key -> why it is set aside: a duplicate, or over a cap."""
    similarity, hours = recipe.select.duplicates.similarity, recipe.mixture.hours_max
    refused: dict[str, Problem] = {}
    for kind, code, message in (
        ("recording", "duplicate_recording", "the same recording as {}"),
        ("turn", "duplicate_text", "nearly the same words as {}"),
        ("row", "duplicate_text", "nearly the same words as {}"),
    ):
        items = [item for _, item in _items(surveyed, kind, refused)]
        survivors = duplicates(items, similarity)
        left = [item for item in items if item.name not in survivors]
        before = earlier.duplicates(left, kind, similarity)
        survivors = {key: before.get(survivor, survivor) for key, survivor in survivors.items()} | before
        refused |= {key: Problem(code, message.format(survivor)) for key, survivor in survivors.items()}
    spoken = _spoken(surveyed, refused)
    for key, cap in exceeding_caps(spoken, recipe.mixture, earlier.seconds(spoken, hours)).items():
        refused[key] = Problem(f"over_{cap}_cap", f"there are {hours[cap]:g} hours of its {cap} without it")
    return refused


def _kept(surveyed: Surveyed, refused: Mapping[str, Problem], recipe: Recipe) -> Kept:
    """What is left when some is refused, for the partitions after this one."""
    config, hours = recipe.select.duplicates, recipe.mixture.hours_max
    compared = (kind for kind, used in (("recording", config.recordings), ("turn", config.texts)) if used)
    kept = {kind: sketch_table(_items(surveyed, kind, refused)) for kind in compared}
    return kept | ({HOURS: hours_table(_spoken(surveyed, refused), hours)} if hours else {})


def _items(surveyed: Surveyed, kind: str, refused: Mapping[str, Problem]) -> list[tuple[str, Item]]:
    """(recording, item) of what is compared of one kind, and not refused."""
    return [
        (row["recording"], Item(row["key"], row["content"], signature))
        for row, signature in surveyed
        if row["kind"] == kind and row["content"] is not None and _is_left(row, refused)
    ]


def _spoken(surveyed: Surveyed, refused: Mapping[str, Problem]) -> list[MixtureTurn]:
    """The turns that are not refused."""
    return [
        MixtureTurn(**{name: row[name] for name in _SPOKEN})
        for row, _ in surveyed
        if row["kind"] == "turn" and _is_left(row, refused)
    ]


def _is_left(row: dict[str, Any], refused: Mapping[str, Problem]) -> bool:
    return row["key"] not in refused and row["recording"] not in refused


_SPOKEN = [field.name for field in fields(MixtureTurn)]


def _surveyed(table: pa.Table) -> Surveyed:
    rows, signatures = table.drop_columns(["signature"]).to_pylist(), _signatures(table["signature"])
    return list(zip(rows, signatures, strict=True))


def _signatures(column: pa.ChunkedArray) -> list[Signature | None]:
    """Views into one array: Python numbers would take ten times the memory."""
    values = np.concatenate([np.empty(0, np.uint32), *(_flat(chunk) for chunk in column.chunks)])
    ends = np.cumsum(pc.list_value_length(column).to_numpy())
    starts = np.concatenate([[0], ends[:-1]])
    return [values[a:b] if b > a else None for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]


def _flat(chunk: pa.ListArray) -> Signature:
    return np.asarray(chunk.flatten().to_numpy(zero_copy_only=False), np.uint32)


def _survey_samples(
    group: Group, recipe: Recipe, dataset: Store, vocabulary_of: VocabularyOf
) -> list[SurveySample]:
    packer = GroupPacker(recipe, vocabulary_of(recipe), prompts_of(recipe), group.decisions)
    for recording in group.recordings(dataset):
        packer.add(recording)
    for where, row in read_texts(group.texts, recipe) if group.texts else ():
        packer.add_text(where, row)
    return [
        SurveySample(sample.key, sample.family, len(sample.tokens))
        for samples in packer.samples.values()
        for sample in samples
    ]


def _left_out(tables: list[pa.Table], recipe: Recipe) -> list[list[str]]:
    """For each group the keys of its samples that exceed their family's share."""
    samples = pa.concat_tables(tables)
    keys = samples["key"].to_pylist()
    tokens = samples["tokens"].to_numpy().astype(np.int64)
    kept = fit_mixture(keys, samples["family"].to_pylist(), tokens, recipe.mixture.weights)
    ends = np.cumsum([table.num_rows for table in tables])
    return [
        [keys[n] for n in range(end - table.num_rows, end) if not kept[n]]
        for table, end in zip(tables, ends.tolist(), strict=True)
    ]
