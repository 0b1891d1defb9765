"""Conversations whose last question asks for a way to speak, and whose answer is to be spoken that way."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import Field

from schemas.chat import Chat, ChatMessage
from schemas.hashing import hash_fraction
from stages.stage import Config
from stages.synthesize.asking.phrasings import AskingTemplates, Form
from stages.synthesize.mandarin import HAN
from stages.synthesize.talk.draws import Draws


class SpokenInstructionsConfig(Config):
    share: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of the conversations with an answer whose question asks for one of `styles`, or "
        "for several where the answer changes its style; rows with `answer_style` stay as they are",
    )
    again_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the requests for one style that come after the answer, to have it said again; "
        "the others are part of the question",
    )
    held_out: bool = Field(
        False,
        description="ask with the phrasings that are held out, for data to evaluate with, and with no other",
    )
    phrasings: dict[str, str] = Field(
        {},
        description="language (ISO 639-1) -> file with its phrasings, for further languages or in place of "
        "those that come with the package, English and Chinese",
    )


@dataclass(frozen=True)
class SpeakingRequest:
    """How a conversation asks for a way to speak."""

    form: Form
    phrasing: str
    """With slots for the question."""
    styles: tuple[str, ...]
    """Of the answer, or of its spans in order."""
    held_out: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"styles": list(self.styles)}


def with_request(
    chat: Chat,
    key: str,
    styles: Mapping[str, Any],
    changing: tuple[str, ...],
    config: SpokenInstructionsConfig,
    phrasings: Mapping[str, AskingTemplates],
) -> tuple[Chat, SpeakingRequest | None]:
    """The conversation with a request for a way to speak; unchanged if it is to have none.

    `key` is what is drawn by, `styles` those of the recipe, and `changing` those of an answer that changes
    its style, empty for others. Conversations in a language without phrasings have no request.
    """
    if chat.messages[-1].role != "assistant" or chat.answer_styles:
        return chat, None
    *before, question, answer = chat.messages
    language = phrasings.get(_language(chat, question.text))
    if language is None or hash_fraction(f"{key} asks", bits=48) >= config.share:
        return chat, None
    draws = Draws(f"{key} asking")
    known = sorted(language.styles & styles.keys())
    again = hash_fraction(f"{key} again", bits=48) < config.again_share
    form: Form = "change" if changing else "again" if again else "with"
    wanted = changing or ((draws.one(known),) if known else ())
    if not wanted or not language.styles.issuperset(wanted):
        return chat, None
    drawn = language.drawn(draws, form, wanted, question.text, config.held_out)
    if drawn is None:
        return chat, None
    phrasing, asked = drawn
    kept = chat.messages if form == "again" else before
    return (
        replace(
            chat,
            messages=(*kept, ChatMessage("human", asked), answer),
            fields=chat.fields | {"answer_style": list(wanted)},
        ),
        SpeakingRequest(form, phrasing, wanted, config.held_out),
    )


def _language(chat: Chat, question: str) -> str:
    """What the row says, or else Chinese if the question has Chinese characters, and English if not."""
    return str(chat.fields.get("language") or ("zh" if HAN.search(question) else "en"))
