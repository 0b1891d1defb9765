"""Answers from a language model, worded for speech: colloquial and short."""

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from schemas.chat import Chat, ChatMessage
from schemas.errors import DataError
from stages.endpoint import Endpoint, EndpointConfig
from stages.replies import Cost

API_ROLES = {"human": "user"}
"""Our role name -> the name in the API, where they differ."""

MESSAGE_TOKENS = 16
"""Upper bound of the tokens that a chat template adds to a message."""

BYTES_PER_AUDIO_TOKEN = 320
"""Lower bound: models make 10 to 50 tokens of a second, and a WAV file has at least 16,000 bytes of it."""

_ALOUD = (
    "Your words are read out by a voice, so write numbers, units and symbols as words, and use no lists, "
    "headings, markup, links, code or emoji."
)

ANSWER = (
    "You are speaking with somebody aloud. Answer the way people talk: in the language of the question, one "
    f"to four plain sentences, warm and to the point. {_ALOUD}"
)

REWRITE = (
    "The user sends you a written answer. Say the same in spoken language: colloquial, short, one to four "
    f"plain sentences, in the same language and with nothing added. {_ALOUD} Reply with the rewritten answer "
    "alone."
)


class AnswersConfig(EndpointConfig):
    rewrite: bool = Field(True, description="rewrite the answers of the conversations in spoken language")
    answer_prompt: str = Field(ANSWER, description="system prompt for questions without an answer")
    rewrite_prompt: str = Field(REWRITE, description="system prompt for rewriting answers")
    temperature: float = Field(0.7, ge=0, le=2, description="sampling temperature")
    max_tokens: int = Field(400, ge=1, description="maximum length of an answer, in tokens")


def with_answer(chat: Chat, config: AnswersConfig, endpoint: Endpoint) -> Chat:
    """The conversation with an answer to its last question, or with its last answer rewritten for speech.

    Raises the errors of `complete`.
    """
    *before, last = chat.messages
    if last.role == "human":
        systems = [message.text for message in before if message.role == "system"]
        prompt = ChatMessage("system", "\n\n".join([*systems, config.answer_prompt]))
        request = [prompt, *(message for message in chat.messages if message.role != "system")]
        answer = complete(request, config, endpoint, config.temperature, config.max_tokens)
        return replace(chat, messages=(*chat.messages, ChatMessage("assistant", answer)))
    if not config.rewrite:
        return chat
    request = [ChatMessage("system", config.rewrite_prompt), ChatMessage("human", last.text)]
    answer = complete(request, config, endpoint, config.temperature, config.max_tokens)
    return replace(chat, messages=(*before, ChatMessage("assistant", answer)))


def complete(
    messages: Sequence[ChatMessage],
    config: EndpointConfig,
    endpoint: Endpoint,
    temperature: float,
    max_tokens: int,
    recordings: Sequence[bytes] = (),
) -> str:
    """The next message by the model. `recordings`, WAV files, are parts of the second message.

    Raises DataError `cut_short` and the errors of `Endpoint.post`.
    """
    api_messages: list[dict[str, Any]] = [
        {"role": API_ROLES.get(message.role, message.role), "content": message.text} for message in messages
    ]
    if recordings:
        parts = [{"type": "input_audio", "input_audio": _base64_wav(data)} for data in recordings]
        api_messages[1]["content"] = [{"type": "text", "text": api_messages[1]["content"]}, *parts]
    body = {
        "model": config.model,
        "messages": api_messages,
        "temperature": temperature,
        "max_tokens": max_tokens,
    }
    max_cost = Cost(
        requests=1,
        # No token is shorter than a byte.
        tokens=max_tokens
        + sum(len(message.text.encode()) + MESSAGE_TOKENS for message in messages)
        + sum(len(data) // BYTES_PER_AUDIO_TOKEN for data in recordings),
        characters=sum(len(message.text) for message in messages),
    )

    def read(reply: bytes) -> tuple[tuple[str, str | None], Cost | None]:
        answer, finish, tokens = _completion(reply)
        return (answer, finish), Cost(1, tokens, max_cost.characters) if tokens is not None else None

    answer, finish = endpoint.post("/chat/completions", body, max_cost, read)
    if finish == "length":
        raise DataError("cut_short", f"the answer has over {max_tokens} tokens and was cut off")
    return answer


def _base64_wav(data: bytes) -> dict[str, str]:
    return {"data": base64.b64encode(data).decode(), "format": "wav"}


def _completion(reply: bytes) -> tuple[str, str | None, int | None]:
    """Text, finish reason and total tokens. Raises ValueError if the reply is not a chat completion."""
    try:
        document: Any = json.loads(reply)
    except ValueError:
        raise ValueError("no JSON") from None
    try:
        choice = document["choices"][0]
        answer = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise ValueError("no chat completion") from None
    if not isinstance(answer, str) or not answer.strip():
        raise ValueError("an empty answer")
    usage = document.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    finish = choice.get("finish_reason")
    return answer.strip(), str(finish) if finish else None, tokens if isinstance(tokens, int) else None
