"""Sentences to say after somebody or in a style, and answers to say again."""

from stages.synthesize.talk.draws import Draws
from stages.synthesize.talk.exchange import Exchange, exchange
from stages.synthesize.talk.words import ANIMALS, DAYS, DEEDS, FOODS, NAMES, PEOPLE, PLACES, TRAITS, number

STYLES = ("slow", "fast", "loud", "soft", "happy", "sad")

_SAY = (
    *("Repeat after me: {s}", "Say this: {s}", "Please say: {s}", "Say after me: {s}", "Please repeat: {s}"),
    *("Can you say: {s}",),
)
_SAY_IN_STYLE = {
    "slow": ("Say this slowly: {s}", "Please say slowly: {s}", "Speak slowly and say: {s}"),
    "fast": ("Say this fast: {s}", "Please say quickly: {s}", "Speak quickly and say: {s}"),
    "loud": ("Say this loudly: {s}", "Please say loudly: {s}", "In a loud voice, say: {s}"),
    "soft": ("Say this softly: {s}", "Please say quietly: {s}", "In a soft voice, say: {s}"),
    "happy": ("Say this happily: {s}", "In a happy voice, say: {s}", "Sound happy and say: {s}"),
    "sad": ("Say this sadly: {s}", "In a sad voice, say: {s}", "Sound sad and say: {s}"),
}
_AGAIN = (
    *("Say that again.", "Please say that again.", "Can you repeat that?", "What did you say?"),
    *("Once more, please.", "Sorry, can you say that again?", "Repeat that, please.", "I did not hear that."),
)
_AGAIN_IN_STYLE = {
    "slow": (
        *("Say that slower.", "Please say that more slowly.", "Can you say that slowly?", "Slower, please."),
        "Say it again, but slower.",
    ),
    "fast": (
        *("Say that faster.", "Please say that more quickly.", "Can you say that faster?", "Faster, please."),
        "Say it again, but faster.",
    ),
    "loud": (
        *("Say that louder.", "Please say that more loudly.", "Can you say that louder?", "Louder, please."),
        "Say it again, but louder.",
    ),
    "soft": (
        *(
            "Say that softer.",
            "Please say that more quietly.",
            "Can you say that softly?",
            "Quieter, please.",
        ),
        "Say it again, but quieter.",
    ),
    "happy": (
        *("Say that in a happy voice.", "Can you say that happily?", "Say it again, but sound happy."),
        "Now say that as if you were happy.",
    ),
    "sad": (
        *("Say that in a sad voice.", "Can you say that sadly?", "Say it again, but sound sad."),
        "Now say that as if you were sad.",
    ),
}


def sentence(draws: Draws) -> str:
    """A sentence of four to nine words."""
    kind = draws.integer(0, 4)
    if kind == 0:
        who = draws.one(PEOPLE + ANIMALS)
        return f"The {draws.one(TRAITS)} {who} {draws.one(DEEDS)} {draws.one(PLACES)}."
    if kind == 1:
        first = draws.one(FOODS)
        second = draws.one([food for food in FOODS if food != first])
        return f"{draws.one(NAMES)} likes {first} and {second}."
    if kind == 2:
        return f"{draws.one(NAMES)} {draws.one(DEEDS)} {draws.one(PLACES)}."
    if kind == 3:
        return f"On {draws.one(DAYS)} we eat {draws.one(FOODS)} {draws.one(PLACES)}."
    return f"I saw {number(draws.integer(2, 20))} {draws.one(TRAITS)} birds {draws.one(PLACES)}."


def repeats(draws: Draws) -> Exchange:
    said = sentence(draws)
    return exchange(draws, "repeat", _SAY, ("{s}",), {"s": said}, f"say {said}")


def styled(draws: Draws) -> Exchange:
    style, said = draws.one(STYLES), sentence(draws)
    unit, slots = f"say {said}", {"s": said}
    return exchange(draws, "say in a style", _SAY_IN_STYLE[style], ("{s}",), slots, unit, style=style)


def again(draws: Draws, before: Exchange) -> Exchange:
    """The answer before once more, in the same words."""
    unit = f"again, {before.answer}"
    return exchange(draws, "again", _AGAIN, ("{s}",), {"s": before.answer}, unit, number=before.number)


def again_styled(draws: Draws, before: Exchange) -> Exchange:
    style = draws.one(STYLES)
    unit, slots = f"again {style}, {before.answer}", {"s": before.answer}
    return exchange(draws, "again in a style", _AGAIN_IN_STYLE[style], ("{s}",), slots, unit, style=style)
