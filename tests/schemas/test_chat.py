import pytest

from schemas.chat import ChatMessage, parse
from schemas.errors import DataError


def message(role, content):
    return {"role": role, "content": content}


def test_a_row_becomes_a_conversation_with_our_role_names():
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


def test_text_parts_are_one_text():
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]
    assert parse({"messages": [message("user", parts)]}, "").messages[0].text == "What is this?"


def test_the_key_is_of_the_words_alone():
    row = {"messages": [message("user", "Hi?")]}
    assert parse(row, "a:1").key == parse({"messages": [message("human", "Hi?")], "id": 7}, "b:9").key
    assert parse(row, "a:1").key != parse({"messages": [message("user", "Ho?")]}, "a:1").key


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([], "no object"),
        ({}, "`messages`"),
        ({"messages": []}, "`messages`"),
        ({"messages": ["hi"]}, "message 1 is no object"),
        ({"messages": [message("tool", "4")]}, "'tool'"),
        ({"messages": [message("user", None)]}, "no text"),
        ({"messages": [message("user", [{"type": "image_url"}])]}, "no text"),
        ({"messages": [message("user", "  ")]}, "empty"),
        ({"messages": [message("user", "half \ud83d")]}, "surrogate"),
        ({"messages": [message("system", "Be brief.")]}, "nobody"),
        ({"messages": [message("assistant", "Hello.")]}, "message 1"),
        ({"messages": [message("user", "a"), message("user", "b")]}, "message 2 is the human's"),
    ],
)
def test_a_row_that_is_no_conversation_says_why(row, says):
    with pytest.raises(DataError, match=says) as error:
        parse(row, "chats.jsonl:3")
    assert error.value.code == "bad_chat"
