"""Questions about what was said before."""

from stages.synthesize.talk.draws import Draws
from stages.synthesize.talk.exchange import Exchange, exchange
from stages.synthesize.talk.questions import (
    DIFFERENCE_ANSWERS,
    LARGEST_SUM,
    SUM_ANSWERS,
    difference_unit,
    sum_unit,
)
from stages.synthesize.talk.words import ANIMALS, COLORS, DAYS, FOODS, MONTHS, NAMES, number

QUESTION_WORDS_MAX = 7
"""Of a question that is quoted in an answer."""

FAVORITES = {
    "favorite color": COLORS,
    "favorite animal": tuple(f"the {animal}" for animal in ANIMALS),
    "favorite day": DAYS,
    "favorite month": MONTHS,
    "favorite food": FOODS,
    "favorite number": tuple(number(n) for n in range(1, 21)),
    "name": NAMES,
}


def told(draws: Draws) -> Exchange:
    """The person tells something about themselves."""
    what = draws.one(tuple(FAVORITES))
    value = draws.one(FAVORITES[what])
    slots = {"what": what, "value": value}
    questions = (
        *("My {what} is {value}.", "I want to tell you that my {what} is {value}."),
        *("Remember that my {what} is {value}.", "You should know that my {what} is {value}."),
    )
    answers: tuple[str, ...] = ("I will remember {value}.", "{value}, I will remember that.")
    if what == "name":
        answers = ("Nice to meet you, {value}.",)
    unit = f"my {what} {value}"
    remembered = (what, value)
    return exchange(draws, "told", questions, answers, slots, unit, openings=False, remembered=remembered)


def recalled(draws: Draws, before: Exchange) -> Exchange:
    """What the person told, asked for. `before` has something `remembered`."""
    assert before.remembered is not None
    what, value = before.remembered
    questions = (
        *("What is my {what}?", "What's my {what}?", "Tell me my {what}.", "Do you remember my {what}?"),
        *("What did I say is my {what}?",),
    )
    slots = {"what": what, "value": value}
    return exchange(
        draws, "recall", questions, ("It's {value}.", "Your {what} is {value}."), slots, before.unit
    )


def last_question(draws: Draws, before: Exchange) -> Exchange | None:
    """The question before, quoted; None if it is too long."""
    if len(before.core.split()) > QUESTION_WORDS_MAX:
        return None
    questions = (
        *("What was my last question?", "What did I just ask?", "What did I ask you before?"),
        *("Tell me my last question.", "Do you remember my last question?", "What was it that I asked?"),
    )
    slots, unit = {"q": before.core}, f"last question, {before.core}"
    return exchange(draws, "last question", questions, ("You said: {q}",), slots, unit)


def carried_on(draws: Draws, before: Exchange) -> Exchange | None:
    """A number added to the answer before, or taken from it; None if that was no number up to twenty."""
    a = before.number
    if a is None or a > LARGEST_SUM:
        return None
    if draws.integer(0, 1):
        b = draws.integer(0, LARGEST_SUM - a)
        questions = (
            "Add {b} to that.",
            "Now add {b}.",
            "And plus {b}?",
            "What is that plus {b}?",
            "Plus {b}?",
        )
        result, answers, unit = a + b, SUM_ANSWERS, sum_unit(a, b)
    else:
        b = draws.integer(0, a)
        questions = (
            *("Take {b} from that.", "Now take away {b}.", "And minus {b}?", "What is that minus {b}?"),
            "Minus {b}?",
        )
        result, answers, unit = a - b, DIFFERENCE_ANSWERS, difference_unit(a, b)
    slots = {"a": number(a), "b": number(b), "c": number(result)}
    return exchange(draws, "carry on", questions, answers, slots, unit, number=result)
