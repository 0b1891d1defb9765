"""Preference pairs: sampled answers that people or a judge compared, and real ones against contrasts."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import islice

from pipeline.config.recipe import Recipe
from pipeline.inputs.row_files import rows
from pipeline.ledger.annotations import Ledger
from pipeline.planning.plan import Plan
from pipeline.storage.store import Store
from pipeline.versions.gc import VERDICTS
from schemas.chat import ChatMessage
from schemas.errors import DataError
from schemas.layout import GROUP, whole_groups
from schemas.recording import Codes, Recording
from schemas.sample import Clip, Draft, Message, Pair, Speech, Text
from schemas.turn import SetAsideRow, turns_of
from schemas.vocabulary import Vocabulary
from stages.interleave import lay_out
from stages.preferences.candidates import Asked, Candidate, Choice, CodesOf, read_candidates
from stages.preferences.contrast import Answered, contrasts_of
from stages.preferences.judge import Ask, judge, matches
from stages.preferences.pair import pair_of
from stages.preferences.ratings import Scores, agreement, best_and_worst, note, read_rating
from stages.synthesize.answers import complete
from stages.synthesize.cost import Replies
from stages.synthesize.endpoint import Endpoint

GROUP_SECONDS = 0.12
VERDICT_TOKENS = 300
AT_ONCE = 64
"""Prompts in memory."""


@dataclass
class Sampled:
    """Pairs of sampled answers, and what became of everything else."""

    pairs: list[Pair] = field(default_factory=list)
    set_aside: list[SetAsideRow] = field(default_factory=list)
    """Rows that can't be used and comparisons without a winner; `recording` is their file and line."""
    agreement: float | None = None
    """Krippendorff's alpha of all ratings."""


def sampled_pairs(recipe: Recipe, vocabulary: Vocabulary, codes_of: CodesOf) -> Sampled:
    """Pairs of the recipe's candidates: best and worst by ratings, and by the judge if one is named.

    Ratings and pairs are held in memory, candidates are not. Raises SetupError.
    """
    config = recipe.preferences
    found = Sampled()
    scores, places = _ratings(config.ratings, found.set_aside)
    found.agreement = agreement(raters.values() for own in scores.values() for raters in own.values())
    made: set[str] = set()
    with ExitStack() as stack:
        ask = _judge(recipe, stack)
        pool = stack.enter_context(ThreadPoolExecutor(config.judge.parallel if config.judge else 1))
        prompts = _prompts(config.candidates, codes_of, found.set_aside)
        while batch := list(islice(prompts, AT_ONCE)):
            for asked in batch:
                for candidate in asked.candidates:
                    places.pop((asked.id, candidate.id), None)
            choices = [choice for asked in batch for choice in _choices(asked, scores, ask, recipe)]
            laid_out = pool.map(partial(_pair, recipe, vocabulary), choices)
            for (asked, _), pair in zip(choices, laid_out, strict=True):
                if isinstance(pair, Pair) and pair.key in made:
                    pair = DataError("duplicate", "the same pair comes from a row before")
                if isinstance(pair, DataError):
                    found.set_aside.append(_aside(asked.chat.row, pair))
                else:
                    made.add(pair.key)
                    found.pairs.append(pair)
    for (prompt, answer), where in places.items():
        unknown = DataError("unknown_answer", f"there is no answer {answer} to a prompt {prompt}")
        found.set_aside += [_aside(place, unknown) for place in where]
    return found


def contrast_pairs(
    drafts: Sequence[Draft], recipe: Recipe, vocabulary: Vocabulary
) -> tuple[list[Pair], Counter[str]]:
    """Pairs of spoken answers (drafts of `aqtaa`) against what is made of them, and why others have none.

    Their keys are those of the drafts, with the kind in place of the family.
    """
    config = recipe.preferences
    pairs: list[Pair] = []
    reasons: Counter[str] = Counter()
    by_key = {draft.key: draft for draft in drafts}
    answers = [_answered(draft) for draft in drafts]
    for answer, kind, rejected in contrasts_of(answers, config.contrast, config.deaf_phrases):
        try:
            if isinstance(rejected, DataError):
                raise rejected
            draft = by_key[answer.key]
            other = replace(draft, messages=(*draft.messages[:-1], _answer(rejected.text, rejected.speech)))
            chosen, avoided = (lay_out(one, vocabulary, recipe.interleave) for one in (draft, other))
            key = f"{draft.key.removesuffix(draft.family)}{kind}"
            pairs.append(pair_of(chosen, avoided, rejected.provenance, vocabulary, key))
        except DataError as error:
            reasons[f"contrast_{kind}/{error.code}"] += 1
    return pairs, reasons


def annotated_codes(plan: Plan) -> CodesOf:
    """The codes that annotate has made of a recording: those of all its turns, one after another."""
    units = {recording.id: unit.name for unit in plan.units for recording in unit.recordings}
    annotated = _annotated(plan)

    @lru_cache(maxsize=16)  # answers of one prompt tend to lie together
    def codes(unit: str) -> dict[str, Codes]:
        return {recording.id: _whole(recording) for recording in annotated(unit)}

    def codes_of(name: str) -> Codes:
        if name not in units:
            raise DataError("unknown_audio", f"the dataset has no recording {name}")
        found = codes(units[name])[name]
        if not found.linguistic:
            raise DataError("no_codes", f"the recording {name} has no turn with audio tokens")
        return found

    return codes_of


def sampled_recordings(plan: Plan) -> Iterator[Recording]:
    """The recordings that only candidates name, as annotated."""
    annotated = _annotated(plan)
    for unit in plan.units:
        if any(recording.id in plan.pair_only for recording in unit.recordings):
            yield from (recording for recording in annotated(unit.name) if recording.id in plan.pair_only)


def recordings_in(pairs: Iterable[Pair]) -> set[str]:
    """Ids of the recordings that pairs hold codes of."""
    said = (
        message
        for pair in pairs
        for message in (*pair.record["messages"], pair.record["chosen"], pair.record["rejected"])
    )
    return {part["recording"] for message in said for part in message["content"] if part["type"] == "audio"}


def _annotated(plan: Plan) -> Callable[[str], list[Recording]]:
    """Reads the recordings of a unit from the ledger."""
    committed = plan.committed()
    ledger = Ledger(plan.dataset)
    return lambda unit: ledger.recordings({stage: found[unit] for stage, found in committed.items()})


def _whole(recording: Recording) -> Codes:
    turns = [whole_groups(turn.codes) for turn in turns_of(recording) if turn.codes and not turn.problem]
    return Codes(
        tuple(code for codes in turns for code in codes.linguistic),
        tuple(code for codes in turns for code in codes.semantic),
    )


Choosing = tuple[Asked, Callable[[], Choice]]


def _choices(asked: Asked, scores: dict[str, Scores], ask: Ask | None, recipe: Recipe) -> Iterator[Choosing]:
    config = recipe.preferences
    if config.ratings:
        own = scores.get(asked.id, {})
        yield asked, partial(best_and_worst, asked, own, config.margin, config.raters_min)
    if ask:
        yield from ((asked, partial(judge, asked, one, other, ask)) for one, other in matches(asked))


def _pair(recipe: Recipe, vocabulary: Vocabulary, choosing: Choosing) -> Pair | DataError:
    asked, choose = choosing
    try:
        choice = choose()
        chosen, rejected = (
            lay_out(_draft(asked, candidate), vocabulary, recipe.interleave)
            for candidate in (choice.chosen, choice.rejected)
        )
        return pair_of(chosen, rejected, choice.provenance, vocabulary)
    except DataError as error:
        return error


def _ratings(
    uris: Sequence[str], aside: list[SetAsideRow]
) -> tuple[dict[str, Scores], dict[tuple[str, str], list[str]]]:
    """Scores by prompt, and where the ratings of each (prompt, answer) stand."""
    scores: dict[str, Scores] = {}
    places: dict[tuple[str, str], list[str]] = {}
    for row in rows(uris):
        try:
            if isinstance(row.value, DataError):
                raise row.value
            rating = read_rating(row.value)
            note(rating, scores)
            places.setdefault((rating.prompt, rating.answer), []).append(row.where)
        except DataError as error:
            aside.append(_aside(row.where, error))
    return scores, places


def _prompts(uris: Sequence[str], codes_of: CodesOf, aside: list[SetAsideRow]) -> Iterator[Asked]:
    """Every prompt with its candidates; notes which rows are none."""
    seen: set[str] = set()
    for row in rows(uris):
        try:
            if isinstance(row.value, DataError):
                raise row.value
            asked = read_candidates(row.value, row.where, codes_of)
            if asked.id in seen:
                raise DataError("prompt_twice", f"a row before has the id {asked.id} too")
        except DataError as error:
            aside.append(_aside(row.where, error))
            continue
        seen.add(asked.id)
        yield asked


def _judge(recipe: Recipe, stack: ExitStack) -> Ask | None:
    """Asks the judge at temperature 0; its verdicts are kept with the dataset."""
    config = recipe.preferences.judge
    if config is None:
        return None
    dataset = Store(f"{recipe.output}/{recipe.name}")
    endpoint = stack.enter_context(closing(Endpoint(config, Replies(dataset, VERDICTS))))

    def ask(messages: Sequence[ChatMessage]) -> str:
        return complete(messages, config, endpoint, temperature=0, max_tokens=VERDICT_TOKENS)

    return ask


def _draft(asked: Asked, candidate: Candidate) -> Draft:
    """A prompt with one of its answers."""
    *history, question = asked.chat.messages
    speech = _speech(asked.codes, asked.audio or asked.chat.row, "human", question.text)
    answer = _speech(candidate.codes, candidate.audio or asked.chat.row, "assistant", candidate.text)
    last = Message("human", (speech or Text(question.text),))
    earlier = (Message(message.role, (Text(message.text),)) for message in history)
    return Draft(
        key="",
        family="preference",
        messages=(*earlier, last, _answer(candidate.text, answer)),
        record={
            "speakers": ["assistant", "human"],
            "language": asked.chat.fields.get("language"),
            "source": {
                "recording": asked.audio or asked.chat.row,
                "start": 0.0,
                "end": speech.clip.end if speech else 0.0,
                "row": asked.chat.row,
                "prompt": asked.id,
            },
            "turns": [],
            "sidecar": {
                name: value
                for name, value in asked.chat.fields.items()
                if name not in ("id", "answers", "codes", "audio")
            },
        },
    )


def _answer(text: str, speech: Speech | None) -> Message:
    if speech is None:
        return Message("assistant", (Text(text),))
    return Message("assistant", (Text(text), speech), interleaved=True)


def _speech(codes: Codes | None, recording: str, role: str, text: str) -> Speech | None:
    if codes is None:
        return None
    seconds = len(codes.linguistic) // GROUP[0] * GROUP_SECONDS
    return Speech(codes, Clip(recording, 0, 0.0, round(seconds, 3)), 0, role, text)


def _answered(draft: Draft) -> Answered:
    """The real answer that a draft ends with."""
    content = draft.messages[-1].content
    text = " ".join(part.text for part in content if isinstance(part, Text))
    speech = next((part for part in content if isinstance(part, Speech)), None)
    conversation = draft.record["source"]["recording"]
    return Answered(draft.key, conversation, draft.record["language"] or "", text, speech)


def _aside(where: str, error: DataError) -> SetAsideRow:
    return SetAsideRow(where, None, None, None, "preferences", error.code, error.message)
