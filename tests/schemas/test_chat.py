import pytest

from schemas.chat import ChatMessage, parse
from schemas.errors import DataError


def message(role, content):
    return {"role": role, "content": content}


def test_roles_are_normalized():
    row = {
        "messages": [message("system", "Be brief."), message("user", " Hi? "), message("assistant", "Hi!")]
    }
    chat = parse(row | {"licence": "CC0-1.0"}, "chats.jsonl:3")
    assert chat.messages == (
        ChatMessage("system", "Be brief."),
        ChatMessage("human", "Hi?"),
        ChatMessage("assistant", "Hi!"),
    )
    assert (chat.row, chat.fields) == ("chats.jsonl:3", {"licence": "CC0-1.0"})
    assert (chat.last("human"), chat.last("assistant")) == (1, 2)


def test_text_parts_are_joined():
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]
    assert parse({"messages": [message("user", parts)]}, "").messages[0].text == "What is this?"


def test_the_key_depends_on_the_requested_style_too():
    row = {"messages": [message("user", "Hi?"), message("assistant", "Hi.")]}
    asked = ({}, {"answer_style": "slow"}, {"answer_style": ["slow", "loud"]})
    plain, slow, then_loud = (parse(row | style, "a:1") for style in asked)
    assert [chat.answer_styles for chat in (plain, slow, then_loud)] == [(), ("slow",), ("slow", "loud")]
    assert len({plain.key, slow.key, then_loud.key}) == 3
    assert plain.key == parse(row | {"answer_style": None}, "a:1").key
    assert slow.key == parse(row | {"answer_style": ["slow"]}, "a:1").key


def test_the_key_depends_only_on_roles_and_texts():
    row = {"messages": [message("user", "Hi?")]}
    assert parse(row, "a:1").key == parse({"messages": [message("human", "Hi?")], "id": 7}, "b:9").key
    assert parse(row, "a:1").key != parse({"messages": [message("user", "Ho?")]}, "a:1").key


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([], "not a JSON object"),
        ({}, "`messages`"),
        ({"messages": []}, "`messages`"),
        ({"messages": ["hi"]}, "message 1 is not a JSON object"),
        ({"messages": [message("tool", "4")]}, "'tool'"),
        ({"messages": [message("user", None)]}, "not text"),
        ({"messages": [message("user", [{"type": "image_url"}])]}, "not text"),
        ({"messages": [message("user", "  ")]}, "empty"),
        ({"messages": [message("user", "half \ud83d")]}, "surrogate"),
        ({"messages": [message("system", "Be brief.")]}, "no message after"),
        ({"messages": [message("assistant", "Hello.")]}, "message 1"),
        ({"messages": [message("user", "a"), message("user", "b")]}, "message 2 has the role human"),
    ],
)
def test_an_invalid_conversation_is_refused_with_the_reason(row, says):
    with pytest.raises(DataError, match=says) as error:
        parse(row, "chats.jsonl:3")
    assert error.value.code == "bad_chat"
