"""Conversations that ask for a way to speak."""

from schemas.chat import parse
from stages.synthesize.asking import SpokenInstructionsConfig, with_request
from stages.synthesize.asking.phrasings import is_held_out
from tests.stages.synthesize.asking.test_phrasings import packaged

PHRASINGS = {language: packaged(language) for language in ("en", "zh")}
STYLES = {"slow": None, "loud": None, "weird": None}
ALWAYS = SpokenInstructionsConfig(share=1)


def chat(question="Tell me about the sea.", answer="It is wide.", **fields):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return parse({"messages": messages, **fields}, "chats.jsonl:1")


def asked(key, config=ALWAYS, conversation=None, changing=()):
    return with_request(conversation or chat(), key, STYLES, changing, config, PHRASINGS)


def test_a_share_asks_and_the_others_stay():
    requests = [asked(f"{n}", SpokenInstructionsConfig(share=0.3)) for n in range(200)]
    assert 40 < sum(request is not None for _, request in requests) < 80
    assert all(found == chat() for found, request in requests if request is None)


def test_in_one_turn_the_question_asks_too():
    found, request = asked("a", SpokenInstructionsConfig(share=1, again_share=0))
    question, answer = found.messages
    assert request.form == "with"
    assert "ell me about the sea" in question.text
    assert question.text != "Tell me about the sea."
    assert answer.text == "It is wide."
    assert found.answer_styles == request.styles
    assert request.styles in (("slow",), ("loud",))  # nobody has words for the other one


def test_in_a_turn_of_its_own_the_earlier_answer_is_kept():
    found, request = asked("a", SpokenInstructionsConfig(share=1, again_share=1))
    assert request.form == "again"
    assert found.messages[:2] == chat().messages
    assert [message.role for message in found.messages[2:]] == ["human", "assistant"]
    assert found.messages[2].text == request.phrasing
    assert found.messages[3].text == "It is wide."


def test_an_answer_that_changes_its_style_is_asked_for_part_by_part():
    found, request = asked("a", changing=("slow", "plain", "loud"))
    assert (request.form, found.answer_styles) == ("change", ("slow", "plain", "loud"))
    assert asked("a", changing=("slow", "weird"))[1] is None


def test_rows_that_ask_themselves_or_in_other_languages_stay():
    for conversation in (
        chat(answer_style="slow"),
        chat(language="de"),
        parse({"messages": [{"role": "user", "content": "Why?"}]}, "chats.jsonl:1"),
    ):
        assert asked("a", conversation=conversation) == (conversation, None)


def test_the_language_is_that_of_the_row_or_of_the_writing():
    found, _ = asked("a", SpokenInstructionsConfig(share=1, again_share=1), chat("大海在哪里？", "在东边。"))
    assert not found.messages[2].text.isascii()


def test_held_out_phrasings_are_for_evaluation():
    for held_out in (False, True):
        config = SpokenInstructionsConfig(share=1, held_out=held_out)
        requests = [asked(f"{n}", config)[1] for n in range(100)]
        assert {is_held_out(request.phrasing) for request in requests} == {held_out}
        assert {request.held_out for request in requests} == {held_out}
