"""Packs one group: samples by split, and a row for every turn and text with its outcome."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pipeline.config.recipe import Recipe
from pipeline.inputs.texts import TextRow, prompt_group_of
from pipeline.pack.corrections import corrected_turns
from pipeline.pack.groups import Decisions
from pipeline.pack.identities import speaker_key
from pipeline.pack.preferences import contrast_pairs
from pipeline.pack.selection import STYLE_NOT_HEARD, refused_text, refused_turns, sources_of
from schemas.errors import DataError
from schemas.recording import Problem, Recording
from schemas.sample import Draft, Pair, Sample
from schemas.turn import AnnotatedTurn, SetAsideRow, TurnRow, turns_of
from schemas.vocabulary import Vocabulary
from stages.compose import (
    FAMILIES,
    Family,
    SampleSource,
    compose,
    dialect_in,
    marked,
    outcomes,
    synthetic_voice,
)
from stages.identify import Identity
from stages.interleave import lay_out
from stages.pair_turns import pair_turns
from stages.preferences.pair import prompt_group
from stages.select import EvaluationPrompts, admit, with_known_text
from stages.shard import group_of, split_of
from stages.synthesize.checks import as_written

SPLITS = ("train", "validation")


class GroupPacker:
    """Collects the samples of recordings and texts, and the outcome of each turn and row."""

    def __init__(
        self, recipe: Recipe, vocabulary: Vocabulary, prompts: EvaluationPrompts | None, decisions: Decisions
    ) -> None:
        self.recipe = recipe
        self.vocabulary = vocabulary
        self.prompts = prompts
        self.decisions = decisions
        self.samples: dict[str, list[Sample | Pair]] = {split: [] for split in SPLITS}
        self.answers: list[tuple[Draft, str]] = []
        """Drafts that end with a spoken answer, each with its split."""
        self.turns: list[TurnRow] = []
        self.set_aside: list[SetAsideRow] = []
        self.recordings: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()
        self.not_composed: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.licences: Counter[str] = Counter()
        self.companions: Counter[str] = Counter()
        self.styles: Counter[str] = Counter()
        self.voice_styles: Counter[str] = Counter()
        self.dialects: dict[str, tuple[int, float]] = {}
        self.audio_seconds = 0.0
        self.audio_notes: Counter[str] = Counter()
        self.kept_seconds = 0.0
        self.songs: dict[str, float] = defaultdict(float)

    def add(self, recording: Recording) -> None:
        """Select, pair and compose one recording's turns, and record the outcome of each."""
        self._add_audio(recording)
        annotated = corrected_turns(turns_of(recording), self.recipe.select)
        if self.recipe.select.compares_known_text(recording.sings):
            annotated = list(map(with_known_text, annotated))
        refused = refused_turns(annotated, self.recipe, self.prompts, self.decisions)
        turns = list(map(as_written, annotated))
        if self.recipe.compose.marks:
            turns = list(map(marked, turns))
        kept = [turn for turn in turns if turn.index not in refused]
        styles = {
            turn.index: outcomes(turn, self.recipe.compose.labels)
            for turn in turns
            if turn.index not in refused or refused[turn.index][1].code == STYLE_NOT_HEARD
        }
        used: set[int] = set()
        if kept:
            used = self._compose(turns, kept)
            self.licences[_licence(kept[0].metadata)] += 1
        self.recordings["kept" if kept else "set_aside"] += 1
        if not kept:
            self._set_aside_recording(recording, Counter(problem.code for _, problem in refused.values()))
        self._add_companions(recording)
        for turn in annotated:
            stage, problem = refused.get(turn.index, (None, None))
            status = "used" if turn.index in used else "set_aside" if problem else "eligible"
            if problem and not recording.set_aside:
                self._set_aside_turn(turn, stage or "", problem)
            dialect = dialect_in(turn, self.recipe.compose.labels)
            if not problem:
                self.kept_seconds += turn.turn.seconds
                if dialect:
                    number, seconds = self.dialects.get(dialect, (0, 0.0))
                    self.dialects[dialect] = number + 1, seconds + turn.turn.seconds
            if turn.sings:
                self.songs[f"{stage}/{problem.code}" if problem else "kept"] += turn.turn.seconds
            found = styles.get(turn.index, ())
            self._add_styles(turn, found)
            row = _row(turn, recording, status, stage, problem, self._identity(turn))
            self.turns.append(replace(row, styles=tuple(found), dialect=dialect))

    def add_sampled(self, recording: Recording, used: bool) -> None:
        """Record the outcome of a recording that is for pairs only; `used` if a pair contains it."""
        self._add_audio(recording)
        turns = list(turns_of(recording))
        kept = [turn for turn in turns if turn.problem is None]
        self.kept_seconds += sum(turn.turn.seconds for turn in kept)
        self.recordings["kept" if kept else "set_aside"] += 1
        if not kept:
            self._set_aside_recording(recording, Counter(turn.problem.code for turn in turns if turn.problem))
        self._add_companions(recording)
        for turn in turns:
            if turn.problem:
                self.turns.append(_row(turn, recording, "set_aside", turn.stage, turn.problem))
                if not recording.set_aside:
                    self._set_aside_turn(turn, turn.stage or "", turn.problem)
            else:
                self.turns.append(_row(turn, recording, "used" if used else "eligible", None, None))

    def add_text(self, where: str, row: TextRow | DataError) -> None:
        """Compose a row of text, or set it aside."""
        if isinstance(row, DataError):
            self._set_aside_text(where, "texts", Problem(row.code, row.message))
            return
        problem = refused_text(row, self.recipe.select, self.prompts, self.decisions)
        if problem is not None:
            self._set_aside_text(where, "select", problem)
            return
        group = self._group(prompt_group_of(row.source), row.source.metadata)
        wanted = row.family in self.recipe.compose.families
        used = wanted and self._add_sample(row.family, row.source, self._split(group))
        self.texts["used" if used else "eligible"] += 1
        self.licences[_licence(row.source.metadata)] += 1

    def add_contrasts(self) -> None:
        """Add contrast pairs of the spoken answers, if the recipe requests any."""
        pairs, reasons = contrast_pairs([draft for draft, _ in self.answers], self.recipe, self.vocabulary)
        splits = {draft.key.removesuffix(draft.family): split for draft, split in self.answers}
        for pair in pairs:  # on the same side of the split as the answer that it was made of
            self.samples[splits[pair.key.rpartition("-")[0] + "-"]].append(pair)
        self.not_composed.update(reasons)

    def add_pairs(self, pairs: Iterable[Pair]) -> None:
        """Add pairs of sampled answers; all pairs of one prompt fall on the same side of the split."""
        for pair in pairs:
            self.samples[self._split(prompt_group(pair, self.vocabulary))].append(pair)

    def _add_styles(self, turn: AnnotatedTurn, found: Sequence[str]) -> None:
        """Count which of a turn's claimed styles are heard."""
        self.styles.update(found)
        if voice := synthetic_voice(turn):
            self.voice_styles.update(f"{voice}/{outcome}" for outcome in found)

    def _set_aside_turn(self, turn: AnnotatedTurn, stage: str, problem: Problem) -> None:
        where = (turn.recording, turn.index, turn.turn.start, turn.turn.end)
        self.set_aside.append(SetAsideRow(*where, stage, problem.code, problem.message))

    def _add_audio(self, recording: Recording) -> None:
        """Count the recording's audio, and what decode noted of it."""
        decoded = recording.decode.result if recording.decode else None
        if decoded:
            self.audio_seconds += decoded.seconds
            if recording.sings:
                self.songs["audio"] += decoded.seconds
            self.audio_notes.update({note.kind for note in decoded.notes})
            self.audio_notes["start_offset"] += decoded.start_offset > 0

    def _add_companions(self, recording: Recording) -> None:
        """Count the recording's companions by their use, and add a row for each line set aside."""
        for stage, problem in recording.problems:
            if problem.line is not None:
                where = (recording.id, None, None, None)
                row = SetAsideRow(*where, stage, problem.code, problem.message, problem.line)
                self.set_aside.append(row)
        # What diarize has left, transcribe may have used.
        code_of: dict[tuple[str, str], str] = {}
        for column in (recording.diarize, recording.transcribe):
            for use in column.companions if column else ():
                if code_of.get((use.kind, use.name)) != "used":
                    code_of[use.kind, use.name] = use.code
        self.companions.update(f"{kind}/{code}" for (kind, _), code in code_of.items())

    def _set_aside_text(self, where: str, stage: str, problem: Problem) -> None:
        self.set_aside.append(SetAsideRow(where, None, None, None, stage, problem.code, problem.message))
        self.texts["set_aside"] += 1

    def _set_aside_recording(self, recording: Recording, reasons: Counter[str]) -> None:
        """Add a row for a recording without a kept turn: its own problem, else a summary of its turns'."""
        reason = next(((stage, p) for stage, p in recording.problems if p.whole), None)
        if reason is None and (
            refused := admit(recording.id, recording.metadata, self.recipe.select)
            or self.decisions.of(recording.id)
        ):
            reason = ("select", refused)
        if reason is None:
            counts = ", ".join(f"{count} {code}" for code, count in reasons.most_common())
            message = f"none of its turns was kept: {counts or 'it has none'}"
            reason = ("select", Problem("no_turn_kept", message))
        decoded = recording.decode.result if recording.decode else None
        start, end = (0.0, decoded.seconds) if decoded else (None, None)
        stage, problem = reason
        row = SetAsideRow(recording.id, None, start, end, stage, problem.code, problem.message)
        self.set_aside.append(row)

    def _compose(self, turns: list[AnnotatedTurn], kept: list[AnnotatedTurn]) -> set[int]:
        """Add the samples of a recording's kept turns; returns the indices of the turns that are used."""
        conversation = pair_turns(turns, {turn.index for turn in kept}, self.recipe.pair_turns)
        sources = sources_of(turns, kept, conversation, self.recipe)
        spoken = "synthesis" in kept[0].metadata and sources["exchange"]
        group = self._group(
            prompt_group_of(sources["exchange"][0]) if spoken else kept[0].recording, kept[0].metadata
        )
        used: set[int] = set()
        for family in self.recipe.compose.families:
            kind, _ = FAMILIES[family]
            if kind == "exchange":
                self.not_composed.update({f"{family}/{code}": n for code, n in conversation.reasons.items()})
            for source in sources[kind]:
                if self._add_sample(family, source, self._split(group)):
                    used.update(source.turns)
        return used

    def _add_sample(self, family: Family, source: SampleSource, split: str) -> bool:
        """Add one sample; False if the source does not suit the family or the mixture leaves it out."""
        try:
            draft = compose(family, source, self.recipe.compose)
            sample = lay_out(draft, self.vocabulary, self.recipe.interleave)
        except DataError as error:  # another family may use it
            self.not_composed[f"{family}/{error.code}"] += 1
            return False
        if sample.key in self.decisions.left_out:
            self.left_out[family] += len(sample.tokens)
            return False
        self.samples[split].append(sample)
        if family == "aqtaa" and draft.messages[-1].interleaved:
            self.answers.append((draft, split))
        return True

    def _identity(self, turn: AnnotatedTurn) -> Identity | None:
        return self.decisions.identities.get(speaker_key(turn.recording, turn.turn.speaker))

    def _group(self, name: str, sidecar: dict[str, Any]) -> str:
        return group_of(name, sidecar, self.recipe.shard.split_by)

    def _split(self, group: str) -> str:
        return split_of(group, self.recipe.shard.validation_share, self.recipe.shard.split_seed)


def _row(
    turn: AnnotatedTurn,
    recording: Recording,
    status: str,
    stage: str | None,
    problem: Problem | None,
    identity: Identity | None = None,
) -> TurnRow:
    transcript, channels = turn.transcript, turn.decoded.track_channels
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
        channel=channels[turn.turn.track] + 1 if channels else None,
        source=recording.diarize.result.source if recording.diarize and recording.diarize.result else None,
        voice_similarity=turn.turn.voice_similarity,
        speaker_margin=turn.turn.speaker_margin,
        identity=identity.name if identity else None,
        identity_similarity=identity.similarity if identity else None,
        identity_margin=identity.margin if identity else None,
        corrected_from=turn.corrected_from,
        sings=turn.sings,
    )


def _licence(sidecar: dict[str, Any]) -> str:
    named = sidecar.get("licence") or sidecar.get("license")
    return str(named) if named else "not stated"
