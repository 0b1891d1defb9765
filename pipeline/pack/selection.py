"""What pack takes of recordings and texts, and what samples can be made of it."""

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
from stages.compose import Kind, Labels, Source, label, of_turns, passages
from stages.pair_turns import Conversation
from stages.select import EvaluationPrompts, SelectConfig, personal, select
from stages.synthesize.checks import check

Sources = tuple[list[Source], list[Source]]
"""Exchanges and passages."""


def refused_turns(
    turns: Sequence[AnnotatedTurn], recipe: Recipe, prompts: EvaluationPrompts | None, decisions: Decisions
) -> dict[int, tuple[str, Problem]]:
    """Index of a turn -> stage and reason, for the turns of a recording that are set aside."""
    refused: dict[int, tuple[str, Problem]] = {}
    for turn in turns:
        if problem := select(turn, recipe.select):
            refused[turn.index] = (turn.stage or "select", problem)
        elif problem := check(turn, recipe.synthesize.checks):
            refused[turn.index] = ("synthesize", problem)
        elif problem := _shared(turn, prompts) or decisions.of(turn.recording, turn.key):
            refused[turn.index] = ("select", replace(problem, turn=turn.index))
    return refused


def refused_text(
    row: TextRow,
    config: SelectConfig,
    prompts: EvaluationPrompts | None,
    decisions: Decisions,
) -> Problem | None:
    """Why a row of text is set aside; None where it is kept."""
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
    turns: list[AnnotatedTurn], kept: list[AnnotatedTurn], talk: Conversation, recipe: Recipe
) -> dict[Kind, list[Source]]:
    """What samples of a recording can be made of; `kept` are those of its turns that are kept."""
    labels = label(turns, recipe.compose.labels)
    exchanges, halves = _spoken_chat(kept, labels, recipe) or _talk(turns, kept, talk, labels, recipe)
    return {
        "turn": [of_turns([turn], labels=labels) for turn in kept],
        "exchange": exchanges,
        "passage": halves,
        "document": [],
    }


def _talk(
    turns: list[AnnotatedTurn],
    kept: list[AnnotatedTurn],
    talk: Conversation,
    labels: Mapping[int, Labels],
    recipe: Recipe,
) -> Sources:
    """What real speakers asked and answered, and where one of them went on."""
    asked = {pair.answer.index: pair for pair in talk.pairs}
    halves = []
    for first, second in passages(turns, {turn.index for turn in kept}, recipe.compose):
        pair = asked.get(first.index)
        question, history = (pair.question, pair.history) if pair else (None, ())
        halves.append(of_turns([first, second], question, history, labels))
    return [of_turns([p.answer], p.question, p.history, labels) for p in talk.pairs], halves


def _spoken_chat(kept: list[AnnotatedTurn], labels: Mapping[int, Labels], recipe: Recipe) -> Sources | None:
    """The conversation whose last question or answer a synthesised recording speaks; None for others."""
    sidecar = kept[0].metadata
    synthesis = sidecar.get("synthesis")
    if not isinstance(synthesis, dict):
        return None
    try:
        chat = parse({"messages": sidecar.get("messages")}, kept[0].recording)
        last = chat.last("assistant")
        messages = [part["message"] for part in synthesis["spoken"]]
        spoken = {m: [turn for turn in kept if messages[turn.index] == m] for m in messages}
        source = of_chat(chat, recipe.pair_turns.history_turns_max, _common(of_turns(kept)))
    except (DataError, LookupError, TypeError):  # somebody else's sidecar: turns, as in any recording
        return None
    if last is None or source.question is None:
        return None
    question = next(iter(spoken.get(last - 1, ())), None)
    source = replace(source, question=replace(source.question, turn=question))
    said = spoken.get(last, [])
    if messages.count(last) < 2:
        answer = replace(source.answer[0], turn=next(iter(said), None))
        return [replace(source, answer=(answer,))], []
    whole = [replace(source, answer=of_turns(said, labels=labels).answer)] if len(said) == 2 else []
    return [source], whole


def _common(source: Source) -> dict[str, Any]:
    return {name: getattr(source, name) for name in ("key", "language", "place", "metadata")}


def _shared(turn: AnnotatedTurn, prompts: EvaluationPrompts | None) -> Problem | None:
    return prompts.shared(turn.transcript.text) if prompts and turn.transcript else None
