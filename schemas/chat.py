"""A text conversation in the common chat format: `{"messages": [{"role": .., "content": ..}, ..]}`."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from schemas.errors import DataError

ROLES = {"system": "system", "human": "human", "user": "human", "assistant": "assistant"}
"""Role in a row -> role in `ChatMessage`."""


@dataclass(frozen=True)
class ChatMessage:
    role: str
    """`system`, `human` or `assistant`."""
    text: str


@dataclass(frozen=True)
class Chat:
    """A conversation: an optional system prompt, then alternating human and assistant messages."""

    row: str
    """Source of the conversation: file and line, or file and row."""
    messages: tuple[ChatMessage, ...]
    fields: dict[str, Any]
    """Other fields of the row, such as `language` and `licence`."""

    @property
    def key(self) -> str:
        """16 hexadecimal digits that identify the messages, and the styles of the answer if it is to have
        any, whatever row they come from."""
        content: list[Any] = [(message.role, message.text) for message in self.messages]
        if styles := self.answer_styles:
            content.append(styles[0] if len(styles) == 1 else styles)
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def answer_styles(self) -> tuple[str, ...]:
        """The styles of `synthesize.styles` in which the last answer is to be spoken: one for all of it, or
        one for each of its spans. Empty: any."""
        style = self.fields.get("answer_style")
        return tuple(map(str, style)) if isinstance(style, list) else () if style is None else (str(style),)

    def last(self, role: str) -> int | None:
        """Index of the last message with a role; None if there is none."""
        indices = [index for index, message in enumerate(self.messages) if message.role == role]
        return indices[-1] if indices else None


def parse(row: Any, where: str) -> Chat:
    """The conversation of a row at `where`. Raises DataError `bad_chat` with what is wrong."""
    if not isinstance(row, dict):
        raise DataError("bad_chat", "the row is not a JSON object")
    rows = row.get("messages")
    if not isinstance(rows, list) or not rows:
        raise DataError("bad_chat", "`messages` is not a list of messages")
    messages = tuple(_message(message, number) for number, message in enumerate(rows, 1))
    dialogue = messages[1:] if messages[0].role == "system" else messages
    if not dialogue:
        raise DataError("bad_chat", "there is no message after the system prompt")
    first = len(messages) - len(dialogue) + 1
    for offset, message in enumerate(dialogue):
        expected = ("human", "assistant")[offset % 2]
        if message.role != expected:
            raise DataError(
                "bad_chat",
                f"message {first + offset} has the role {message.role}, but {expected} is expected there",
            )
    return Chat(where, messages, {name: value for name, value in row.items() if name != "messages"})


def _message(message: Any, number: int) -> ChatMessage:
    if not isinstance(message, dict):
        raise DataError("bad_chat", f"message {number} is not a JSON object")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise DataError("bad_chat", f"message {number} has the role {role!r}, not one of {', '.join(ROLES)}")
    if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
        content = "".join(str(part.get("text") or "") for part in content)
    if not isinstance(content, str):
        raise DataError("bad_chat", f"the content of message {number} is not text")
    if not content.strip():
        raise DataError("bad_chat", f"message {number} is empty")
    try:
        content.encode()
    except UnicodeEncodeError:
        raise DataError("bad_chat", f"message {number} contains an unpaired surrogate") from None
    return ChatMessage(ROLES[role], content.strip())
