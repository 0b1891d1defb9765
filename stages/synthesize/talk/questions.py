"""Questions whose answer depends on nothing before them: numbers, the calendar, facts and spelling."""

from stages.synthesize.talk.draws import Draws
from stages.synthesize.talk.exchange import Exchange, exchange
from stages.synthesize.talk.words import (
    COLORED,
    COUNTED,
    DAYS,
    MONTH_DAYS,
    MONTHS,
    OPPOSITES,
    SPELLED,
    SPELLING,
    number,
)

LARGEST_SUM = 20

SUM_ANSWERS = ("It's {c}.", "That is {c}.", "The answer is {c}.", "{a} plus {b} is {c}.")
DIFFERENCE_ANSWERS = ("It's {c}.", "That is {c}.", "The answer is {c}.", "{a} minus {b} is {c}.")


def sum_unit(a: int, b: int) -> str:
    """Four plus three is the same as three plus four."""
    return f"sum {min(a, b)} {max(a, b)}"


def difference_unit(a: int, b: int) -> str:
    return f"difference {a} {b}"


def sums(draws: Draws) -> Exchange:
    a = draws.integer(0, LARGEST_SUM)
    b = draws.integer(0, LARGEST_SUM - a)
    questions = (
        *("What is {a} plus {b}?", "What's {a} plus {b}?", "How much is {a} plus {b}?"),
        *("Add {a} and {b}.", "Please add {a} and {b}.", "Can you add {a} and {b}?", "Tell me {a} plus {b}."),
        *("What do you get if you add {a} and {b}?", "Do you know what {a} plus {b} is?"),
    )
    slots = {"a": number(a), "b": number(b), "c": number(a + b)}
    return exchange(draws, "sum", questions, SUM_ANSWERS, slots, sum_unit(a, b), number=a + b)


def differences(draws: Draws) -> Exchange:
    a = draws.integer(0, LARGEST_SUM)
    b = draws.integer(0, a)
    questions = (
        *("What is {a} minus {b}?", "What's {a} minus {b}?", "How much is {a} minus {b}?"),
        *("Take {b} from {a}.", "Please take {b} away from {a}.", "Tell me {a} minus {b}."),
        *("What is left if you take {b} from {a}?", "Do you know what {a} minus {b} is?"),
    )
    slots = {"a": number(a), "b": number(b), "c": number(a - b)}
    unit = difference_unit(a, b)
    return exchange(draws, "difference", questions, DIFFERENCE_ANSWERS, slots, unit, number=a - b)


def neighbours(draws: Draws) -> Exchange:
    """The number after or before another, from zero to a hundred."""
    way, step = draws.one((("after", 1), ("before", -1)))
    n = draws.integer(1, 99)
    questions = (
        *("What comes {way} {n}?", "What number comes {way} {n}?", "Which number is right {way} {n}?"),
        *("Tell me the number {way} {n}.", "What is the number {way} {n}?"),
    )
    slots = {"way": way, "n": number(n), "c": number(n + step)}
    answers = ("It's {c}.", "{c}, of course.", "{c} comes {way} {n}.")
    return exchange(draws, "neighbour", questions, answers, slots, f"{way} {n}", number=n + step)


def calendar(draws: Draws) -> Exchange:
    """The day or month after or before another."""
    kind, names = draws.one((("day", DAYS), ("month", MONTHS)))
    way, step = draws.one((("after", 1), ("before", -1)))
    index = draws.integer(0, len(names) - 1)
    questions = (
        *("What comes {way} {n}?", "What {kind} comes {way} {n}?", "Which {kind} is {way} {n}?"),
        *("Tell me the {kind} {way} {n}.", "What is the {kind} {way} {n}?", "Which {kind} comes {way} {n}?"),
        *("What {kind} is right {way} {n}?", "Do you know the {kind} {way} {n}?"),
    )
    slots = {"kind": kind, "way": way, "n": names[index], "c": names[(index + step) % len(names)]}
    return exchange(draws, "calendar", questions, ("It's {c}.", "{c} comes {way} {n}."), slots)


def month_lengths(draws: Draws) -> Exchange:
    month = draws.integer(0, 11)
    questions = (
        *("How many days are in {month}?", "How many days does {month} have?", "How long is {month}?"),
        *("How many days are there in {month}?", "Tell me how many days {month} has."),
        *("Do you know how many days {month} has?",),
    )
    slots = {"month": MONTHS[month], "days": number(MONTH_DAYS[month])}
    answers = ("{month} has {days} days.", "It has {days} days.")
    return exchange(draws, "month", questions, answers, slots)


def counted(draws: Draws) -> Exchange:
    things, asked, told, n = draws.one(COUNTED)
    questions = (
        *("How many {things} {asked}?", "Tell me, how many {things} {asked}?"),
        *("Do you know how many {things} {told}?", "Can you tell me how many {things} {told}?"),
        *("Please tell me how many {things} {told}.", "I want to know how many {things} {told}."),
    )
    slots = {"things": things, "asked": asked, "told": told, "c": number(n)}
    answers = ("{c} {things}.", "It's {c}.", "The answer is {c}.")
    return exchange(draws, "how many", questions, answers, slots)


def opposites(draws: Draws) -> Exchange:
    pair = draws.one(OPPOSITES)
    word, other = pair if draws.integer(0, 1) else pair[::-1]
    questions = (
        *(
            "What is the opposite of {word}?",
            "What's the opposite of {word}?",
            "Tell me the opposite of {word}.",
        ),
        *("Do you know the opposite of {word}?", "What is the opposite word of {word}?"),
        *("Give me the opposite of {word}.", "Can you tell me the opposite of {word}?"),
    )
    slots = {"word": word, "other": other}
    return exchange(
        draws, "opposite", questions, ("It's {other}.", "The opposite of {word} is {other}."), slots
    )


def colors(draws: Draws) -> Exchange:
    thing, verb, color = draws.one(COLORED)
    questions = (
        *("What color {verb} {thing}?", "Tell me the color of {thing}.", "What is the color of {thing}?"),
        *("Which color {verb} {thing}?", "Do you know what color {thing} {verb}?"),
        *("What's the color of {thing}?", "Can you tell me what color {thing} {verb}?"),
    )
    slots = {"thing": thing, "verb": verb, "color": color, "it": "It is" if verb == "is" else "They are"}
    return exchange(draws, "color", questions, ("{it} {color}.", "{thing} {verb} {color}."), slots)


def spellings(draws: Draws) -> Exchange:
    word = draws.one(SPELLED)
    questions = (
        *("How do you spell {word}?", "Spell {word}.", "Please spell {word}.", "Can you spell {word}?"),
        *("Spell the word {word}.", "How is {word} spelled?", "Tell me how to spell {word}."),
    )
    slots = {"word": word, "letters": spelled(word)}
    return exchange(draws, "spelling", questions, ("{letters}.",), slots, f"spell {word}")


def spelled(word: str) -> str:
    """Letters apart, as a synthesiser says them and a recogniser hears them."""
    return SPELLING + ", ".join(word.upper())


def letters_in(draws: Draws) -> Exchange:
    word = draws.one(SPELLED)
    questions = (
        *("How many letters are in the word {word}?", "How many letters does {word} have?"),
        *("Count the letters of {word}.", "Tell me how many letters {word} has."),
    )
    slots = {"word": word, "c": number(len(word))}
    answers = ("It has {c} letters.", "{c} letters.")
    return exchange(draws, "letters", questions, answers, slots, f"spell {word}", number=len(word))


def comparisons(draws: Draws) -> Exchange:
    a = draws.integer(0, 99)
    b = (a + draws.integer(1, 99)) % 100
    how, best = draws.one((("bigger", max), ("smaller", min)))
    questions = (
        *("Which is {how}, {a} or {b}?", "Which number is {how}, {a} or {b}?", "What is {how}, {a} or {b}?"),
        *("Tell me which is {how}, {a} or {b}.", "Is {a} or {b} {how}?"),
    )
    slots = {"how": how, "a": number(a), "b": number(b), "c": number(best(a, b))}
    slots["d"] = number(min(a, b) if best is max else max(a, b))
    answers = ("{c} is {how}.", "It's {c}.", "{c} is {how} than {d}.")
    return exchange(draws, "comparison", questions, answers, slots, f"compare {min(a, b)} {max(a, b)}")


def counts(draws: Draws) -> Exchange:
    length = draws.integer(3, 7)
    first = draws.integer(0, LARGEST_SUM - length + 1)
    row = list(range(first, first + length))
    way, questions = draws.one((("up", _COUNT), ("down", _COUNT_DOWN)))
    row = row if way == "up" else row[::-1]
    slots = {"a": number(row[0]), "b": number(row[-1]), "row": ", ".join(map(number, row))}
    return exchange(draws, "count", questions, ("{row}.",), slots, f"count {row[0]} {row[-1]}")


_COUNT = (
    *("Count from {a} to {b}.", "Please count from {a} to {b}.", "Can you count from {a} to {b}?"),
    *("Count up from {a} to {b}.", "Start at {a} and count to {b}."),
)
_COUNT_DOWN = (
    *("Count down from {a} to {b}.", "Please count down from {a} to {b}.", "Count back from {a} to {b}."),
    *("Can you count down from {a} to {b}?", "Start at {a} and count down to {b}."),
)
