"""Preference pairs: sampled answers compared by people or a judge, and real answers against contrasts."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import islice

from pipeline.config.recipe import Recipe
from pipeline.inputs.row_files import read_rows
from pipeline.ledger.annotations import Ledger
from pipeline.planning.plan import Plan
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from schemas.chat import ChatMessage
from schemas.errors import DataError
from schemas.layout import GROUP_SECONDS, group_count, whole_groups
from schemas.recording import Codes, Recording
from schemas.sample import Clip, Draft, Message, Pair, Speech, Text
from schemas.turn import SetAsideRow, turns_of
from schemas.vocabulary import Vocabulary
from stages.endpoint import Endpoint
from stages.interleave import lay_out
from stages.preferences.candidates import Candidate, Choice, CodesOf, PreferencePrompt, read_candidates
from stages.preferences.contrast import RealAnswer, contrasts_of
from stages.preferences.judge import Ask, judge, matches
from stages.preferences.pair import pair_of
from stages.preferences.ratings import Ratings, best_and_worst, read_rating
from stages.replies import Replies
from stages.synthesize.answers import complete

VERDICT_TOKENS = 300
_BATCH_PROMPTS = 64
"""Prompts in memory at a time."""


@dataclass
class SampledPairs:
    """Pairs of sampled answers, and the rows that did not result in one."""

    pairs: list[Pair] = field(default_factory=list)
    set_aside: list[SetAsideRow] = field(default_factory=list)
    """Unusable rows and comparisons without a winner; `recording` is their file and line."""
    agreement: float | None = None
    """Krippendorff's alpha of all ratings."""


def sampled_pairs(recipe: Recipe, vocabulary: Vocabulary, codes_of: CodesOf) -> SampledPairs:
    """Pairs of the recipe's candidates: the best and worst by ratings, and by the judge if there is one.

    Ratings and pairs are held in memory, candidates are not. Raises SetupError.
    """
    config = recipe.preferences
    result = SampledPairs()
    ratings, rated_at = _ratings(config.ratings, result.set_aside)
    result.agreement = ratings.agreement()
    keys: set[str] = set()
    with ExitStack() as stack:
        ask = _judge(recipe, stack)
        pool = stack.enter_context(ThreadPoolExecutor(config.judge.parallel if config.judge else 1))
        prompts = _prompts(config.candidates, codes_of, result.set_aside)
        while batch := list(islice(prompts, _BATCH_PROMPTS)):
            for prompt in batch:
                for candidate in prompt.candidates:
                    rated_at.pop((prompt.id, candidate.id), None)
            choices = [choice for prompt in batch for choice in _choices(prompt, ratings, ask, recipe)]
            laid_out = pool.map(partial(_pair, recipe, vocabulary), choices)
            for (prompt, _), pair in zip(choices, laid_out, strict=True):
                if isinstance(pair, Pair) and pair.key in keys:
                    pair = DataError("duplicate", "the same pair comes from a row before")
                if isinstance(pair, DataError):
                    result.set_aside.append(_set_aside_row(prompt.chat.row, pair))
                else:
                    keys.add(pair.key)
                    result.pairs.append(pair)
    for (prompt_id, answer), rows_of_rating in rated_at.items():
        unknown = DataError("unknown_answer", f"there is no answer {answer} to a prompt {prompt_id}")
        result.set_aside += [_set_aside_row(where, unknown) for where in rows_of_rating]
    return result


def contrast_pairs(
    drafts: Sequence[Draft], recipe: Recipe, vocabulary: Vocabulary
) -> tuple[list[Pair], Counter[str]]:
    """Pairs of spoken answers (drafts of `aqtaa`) against their contrasts, and reasons for missing ones.

    A pair's key is its draft's key with the kind of contrast in place of the family.
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
            contrast = replace(
                draft, messages=(*draft.messages[:-1], _answer(rejected.text, rejected.speech))
            )
            chosen, avoided = (lay_out(one, vocabulary, recipe.interleave) for one in (draft, contrast))
            key = f"{draft.key.removesuffix(draft.family)}{kind}"
            pairs.append(pair_of(chosen, avoided, rejected.provenance, vocabulary, key))
        except DataError as error:
            reasons[f"contrast_{kind}/{error.code}"] += 1
    return pairs, reasons


def annotated_codes(plan: Plan) -> CodesOf:
    """A function that returns the codes of an annotated recording: those of its turns, concatenated."""
    units = {recording.id: unit.name for unit in plan.units for recording in unit.recordings}
    annotated = _annotated(plan)

    @lru_cache(maxsize=16)  # answers to one prompt tend to be in one unit
    def codes(unit: str) -> dict[str, Codes]:
        return {recording.id: _codes_of_turns(recording) for recording in annotated(unit)}

    def codes_of(name: str) -> Codes:
        if name not in units:
            raise DataError("unknown_audio", f"the dataset has no recording {name}")
        of_recording = codes(units[name])[name]
        if not of_recording.linguistic:
            raise DataError("no_codes", f"the recording {name} has no turn with audio tokens")
        return of_recording

    return codes_of


def sampled_recordings(plan: Plan) -> Iterator[Recording]:
    """The annotated recordings that only candidates name."""
    annotated = _annotated(plan)
    for unit in plan.units:
        if any(recording.id in plan.pair_only for recording in unit.recordings):
            yield from (recording for recording in annotated(unit.name) if recording.id in plan.pair_only)


def recordings_in(pairs: Iterable[Pair]) -> set[str]:
    """Ids of the recordings whose codes are in some pairs."""
    messages = (
        message
        for pair in pairs
        for message in (*pair.record["messages"], pair.record["chosen"], pair.record["rejected"])
    )
    return {
        part["recording"] for message in messages for part in message["content"] if part["type"] == "audio"
    }


def _annotated(plan: Plan) -> Callable[[str], list[Recording]]:
    """A function that reads the recordings of a unit from the ledger."""
    committed = plan.committed()
    ledger = Ledger(plan.dataset)
    return lambda unit: ledger.recordings({stage: paths[unit] for stage, paths in committed.items()})


def _codes_of_turns(recording: Recording) -> Codes:
    turns = [whole_groups(turn.codes) for turn in turns_of(recording) if turn.codes and not turn.problem]
    return Codes(
        tuple(code for codes in turns for code in codes.linguistic),
        tuple(code for codes in turns for code in codes.semantic),
    )


PendingChoice = tuple[PreferencePrompt, Callable[[], Choice]]
"""A prompt, and what chooses between its candidates when called."""


def _choices(
    prompt: PreferencePrompt, ratings: Ratings, ask: Ask | None, recipe: Recipe
) -> Iterator[PendingChoice]:
    config = recipe.preferences
    if config.ratings:
        own = ratings.scores(prompt.id)
        yield prompt, partial(best_and_worst, prompt, own, config.margin, config.raters_min)
    if ask:
        yield from ((prompt, partial(judge, prompt, one, other, ask)) for one, other in matches(prompt))


def _pair(recipe: Recipe, vocabulary: Vocabulary, pending: PendingChoice) -> Pair | DataError:
    prompt, choose = pending
    try:
        choice = choose()
        chosen, rejected = (
            lay_out(_draft(prompt, candidate), vocabulary, recipe.interleave)
            for candidate in (choice.chosen, choice.rejected)
        )
        return pair_of(chosen, rejected, choice.provenance, vocabulary)
    except DataError as error:
        return error


def _ratings(
    uris: Sequence[str], set_aside: list[SetAsideRow]
) -> tuple[Ratings, dict[tuple[str, str], list[str]]]:
    """All ratings, and the file and line of each by (prompt, answer)."""
    ratings = Ratings()
    rated_at: dict[tuple[str, str], list[str]] = {}
    for row in read_rows(uris):
        try:
            if isinstance(row.value, DataError):
                raise row.value
            rating = read_rating(row.value)
            ratings.add(rating)
            for answer in rating.answers:
                rated_at.setdefault((rating.prompt, answer), []).append(row.where)
        except DataError as error:
            set_aside.append(_set_aside_row(row.where, error))
    return ratings, rated_at


def _prompts(
    uris: Sequence[str], codes_of: CodesOf, set_aside: list[SetAsideRow]
) -> Iterator[PreferencePrompt]:
    """Every prompt with its candidates; unusable rows are added to `set_aside`."""
    seen: set[str] = set()
    for row in read_rows(uris):
        try:
            if isinstance(row.value, DataError):
                raise row.value
            prompt = read_candidates(row.value, row.where, codes_of)
            if prompt.id in seen:
                raise DataError("prompt_twice", f"a row before has the id {prompt.id} too")
        except DataError as error:
            set_aside.append(_set_aside_row(row.where, error))
            continue
        seen.add(prompt.id)
        yield prompt


def _judge(recipe: Recipe, stack: ExitStack) -> Ask | None:
    """A function that queries the judge at temperature 0; its verdicts are stored with the dataset."""
    config = recipe.preferences.judge
    if config is None:
        return None
    dataset = Store(f"{recipe.output}/{recipe.name}")
    endpoint = stack.enter_context(closing(Endpoint(config, Replies(dataset, layout.VERDICTS))))

    def ask(messages: Sequence[ChatMessage]) -> str:
        return complete(messages, config, endpoint, temperature=0, max_tokens=VERDICT_TOKENS)

    return ask


def _draft(prompt: PreferencePrompt, candidate: Candidate) -> Draft:
    """A prompt with one of its answers."""
    *history, question = prompt.chat.messages
    speech = _speech(prompt.codes, prompt.audio or prompt.chat.row, "human", question.text)
    answer = _speech(candidate.codes, candidate.audio or prompt.chat.row, "assistant", candidate.text)
    last = Message("human", (speech or Text(question.text),))
    earlier = (Message(message.role, (Text(message.text),)) for message in history)
    return Draft(
        key="",
        family="preference",
        messages=(*earlier, last, _answer(candidate.text, answer)),
        record={
            "speakers": ["assistant", "human"],
            "language": prompt.chat.fields.get("language"),
            "source": {
                "recording": prompt.audio or prompt.chat.row,
                "start": 0.0,
                "end": speech.clip.end if speech else 0.0,
                "row": prompt.chat.row,
                "prompt": prompt.id,
            },
            "turns": [],
            "sidecar": {
                name: value
                for name, value in prompt.chat.fields.items()
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
    seconds = group_count(codes) * GROUP_SECONDS
    return Speech(codes, Clip(recording, 0, 0.0, round(seconds, 3)), 0, role, text)


def _answered(draft: Draft) -> RealAnswer:
    """The answer that a draft ends with."""
    content = draft.messages[-1].content
    text = " ".join(part.text for part in content if isinstance(part, Text))
    speech = next((part for part in content if isinstance(part, Speech)), None)
    conversation = draft.record["source"]["recording"]
    return RealAnswer(draft.key, conversation, draft.record["language"] or "", text, speech)


def _set_aside_row(where: str, error: DataError) -> SetAsideRow:
    return SetAsideRow(where, None, None, None, "preferences", error.code, error.message)
