"""A text conversation in the common chat format: `{"messages": [{"role": .., "content": ..}, ..]}`."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from schemas.errors import DataError

ROLES = {"system": "system", "human": "human", "user": "human", "assistant": "assistant"}
"""What rows call the roles -> what we call them."""


@dataclass(frozen=True)
class ChatMessage:
    role: str
    """`system`, `human` or `assistant`."""
    text: str


@dataclass(frozen=True)
class Chat:
    """A conversation: perhaps a system prompt, then human and assistant in turn, the human first."""

    row: str
    """Where it comes from: file and line, or file and row."""
    messages: tuple[ChatMessage, ...]
    fields: dict[str, Any]
    """What else the row says: `language`, `licence`, anything."""

    @property
    def key(self) -> str:
        """16 hexadecimal digits that stand for the words, wherever they come from."""
        said = [(message.role, message.text) for message in self.messages]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def last(self, role: str) -> int | None:
        """Index of the last message of a role."""
        found = [index for index, message in enumerate(self.messages) if message.role == role]
        return found[-1] if found else None


def parse(row: Any, where: str) -> Chat:
    """The conversation of a row. Raises DataError `bad_chat` with what is wrong."""
    if not isinstance(row, dict):
        raise DataError("bad_chat", "the row is no object")
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        raise DataError("bad_chat", "`messages` is not a list of messages")
    read = tuple(_message(message, number) for number, message in enumerate(messages, 1))
    talk = read[1:] if read[0].role == "system" else read
    expected = ("human", "assistant")
    if not talk:
        raise DataError("bad_chat", "nobody says anything after the system prompt")
    for number, message in enumerate(talk):
        if message.role != expected[number % 2]:
            at = number + 1 + len(read) - len(talk)
            raise DataError(
                "bad_chat", f"message {at} is the {message.role}'s, not the {expected[number % 2]}'s"
            )
    return Chat(where, read, {name: value for name, value in row.items() if name != "messages"})


def _message(message: Any, number: int) -> ChatMessage:
    if not isinstance(message, dict):
        raise DataError("bad_chat", f"message {number} is no object")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise DataError("bad_chat", f"message {number} has the role {role!r}, not one of {', '.join(ROLES)}")
    if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
        content = "".join(str(part.get("text") or "") for part in content)
    if not isinstance(content, str):
        raise DataError("bad_chat", f"the content of message {number} is no text")
    if not content.strip():
        raise DataError("bad_chat", f"message {number} is empty")
    try:
        content.encode()
    except UnicodeEncodeError:
        raise DataError("bad_chat", f"message {number} holds half a character (a lone surrogate)") from None
    return ChatMessage(ROLES[role], content.strip())
