"""Which turns and texts pack keeps, and the sources of samples that it makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.config.recipe import Recipe
from pipeline.inputs.texts import TextRow, of_chat
from pipeline.pack.groups import Decisions
from schemas.chat import parse
from schemas.errors import DataError
from schemas.recording import Problem
from schemas.turn import AnnotatedTurn
from stages.compose import (
    Kind,
    Labels,
    SampleSource,
    SourceSpan,
    label,
    lines_in_a_row,
    of_turns,
    passages,
    unheard_style,
)
from stages.pair_turns import Conversation
from stages.select import EvaluationPrompts, SelectConfig, personal, select
from stages.synthesize.checks import check

STYLE_NOT_HEARD = "style_not_heard"
"""Code of turns that are set aside for their style alone."""

Sources = tuple[list[SampleSource], list[SampleSource]]
"""Exchanges and passages."""


def refused_turns(
    turns: Sequence[AnnotatedTurn], recipe: Recipe, prompts: EvaluationPrompts | None, decisions: Decisions
) -> dict[int, tuple[str, Problem]]:
    """Index -> stage and reason, for the turns of a recording that are set aside."""
    refused: dict[int, tuple[str, Problem]] = {}
    for turn in turns:
        if problem := select(turn, recipe.select):
            refused[turn.index] = (turn.stage or "select", problem)
        elif problem := check(turn, recipe.synthesize.checks):
            refused[turn.index] = ("synthesize", problem)
        elif problem := _shared(turn, prompts) or decisions.of(turn.recording, turn.key):
            refused[turn.index] = ("select", replace(problem, turn=turn.index))
        elif recipe.select.styles and (told := unheard_style(turn, recipe.compose.labels)):
            refused[turn.index] = ("select", Problem(STYLE_NOT_HEARD, told, turn.index))
    return refused


def refused_text(
    row: TextRow,
    config: SelectConfig,
    prompts: EvaluationPrompts | None,
    decisions: Decisions,
) -> Problem | None:
    """Why a row of text is set aside; None if it is kept."""
    language = row.source.language
    if config.denied & {row.key, row.where}:
        return Problem("denied", "the recipe's deny list names the row")
    if language is not None and config.languages is not None and language not in config.languages:
        wanted = ", ".join(config.languages)
        return Problem("other_language", f"the language is {language}, not one of {wanted}")
    if config.pii and (kind := personal(row.text)):
        return Problem("personal_data", f"the text holds {kind}")
    return (prompts.shared(row.text) if prompts else None) or decisions.of(row.key)


def sources_of(
    turns: list[AnnotatedTurn], kept: list[AnnotatedTurn], conversation: Conversation, recipe: Recipe
) -> dict[Kind, list[SampleSource]]:
    """The sources of a recording's samples, by kind; `kept` is the subset of `turns` that is kept."""
    labels = label(turns, recipe.compose.labels)
    spoken = _synthesized_chat(kept, labels, recipe)
    exchanges, controlled = spoken or _real_conversation(turns, kept, conversation, labels, recipe)
    each = [of_turns([turn], labels=labels) for turn in kept]
    gap = recipe.compose.nextline_gap_seconds_max
    return {
        "turn": each,
        "line": each if kept[0].sings else [],
        "lines": [
            of_turns([b], a, (), labels) for a, b in lines_in_a_row(turns, {t.index for t in kept}, gap)
        ],
        "exchange": exchanges,
        "passage": controlled,
        "document": [],
    }


def _real_conversation(
    turns: list[AnnotatedTurn],
    kept: list[AnnotatedTurn],
    conversation: Conversation,
    labels: Mapping[int, Labels],
    recipe: Recipe,
) -> Sources:
    """Exchanges between real speakers, and passages in which one of them continues."""
    pair_of_answer = {pair.answer.index: pair for pair in conversation.pairs}
    controlled = []
    for passage in passages(turns, {turn.index for turn in kept}, recipe.compose):
        pair = pair_of_answer.get(passage[0].index)
        question, history = (pair.question, pair.history) if pair else (None, ())
        controlled.append(of_turns(passage, question, history, labels))
    exchanges = [of_turns([p.answer], p.question, p.history, labels) for p in conversation.pairs]
    return exchanges, controlled


def _synthesized_chat(
    kept: list[AnnotatedTurn], labels: Mapping[int, Labels], recipe: Recipe
) -> Sources | None:
    """The conversation whose last question or answer a synthesized recording speaks; None for others."""
    sidecar = kept[0].metadata
    synthesis = sidecar.get("synthesis")
    if not isinstance(synthesis, dict):
        return None
    try:
        chat = parse({"messages": sidecar.get("messages")}, kept[0].recording)
        last = chat.last("assistant")
        messages = [part["message"] for part in synthesis["spoken"]]
        turns_by_message = {m: [turn for turn in kept if messages[turn.index] == m] for m in messages}
    except (DataError, LookupError, TypeError):  # not a sidecar of ours: an ordinary recording
        return None
    if last is None:
        return None
    source = of_chat(chat, recipe.pair_turns.history_turns_max, _common(of_turns(kept)))
    if source.question is None:
        return None
    question = next(iter(turns_by_message.get(last - 1, ())), None)
    source = replace(source, question=_spoken(source.question, question))
    answers = turns_by_message.get(last, [])
    spans = messages.count(last)
    if spans < 2:
        answer = _spoken(source.answer[0], next(iter(answers), None))
        of_answer = labels.get(answer.turn.index, {}) if answer.turn else {}
        return [replace(source, answer=(replace(answer, labels=of_answer),))], []
    if len(answers) < spans:  # a part of an answer is no answer
        return [source], []
    return [source], [replace(source, answer=of_turns(answers, labels=labels).answer)]


def _spoken(span: SourceSpan, turn: AnnotatedTurn | None) -> SourceSpan:
    """A text with the turn that speaks it; what a person heard in the turn counts more than the text."""
    heard = turn.transcript if turn and turn.corrected_from else None
    return replace(span, turn=turn, words=heard.text if heard else span.words)


def _common(source: SampleSource) -> dict[str, Any]:
    return {name: getattr(source, name) for name in ("key", "language", "origin", "metadata")}


def _shared(turn: AnnotatedTurn, prompts: EvaluationPrompts | None) -> Problem | None:
    return prompts.shared(turn.transcript.text) if prompts and turn.transcript else None
