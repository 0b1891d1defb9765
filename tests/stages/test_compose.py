"""The messages of every family, from kept turns."""

import json
import re
from dataclasses import replace

import pytest
from annotated import a_turn

from schemas.errors import DataError
from schemas.layout import whole_groups
from schemas.recording import Codes
from schemas.sample import Clip, Message, Text
from stages.compose import FAMILIES, ComposeConfig, compose

CONFIG = ComposeConfig()
ONE = ComposeConfig(asr_instructions={"en": ("Write:\n",)}, tts_instructions={"en": ("Say:\n",)})

TURN = a_turn(index=12, start=10.0, end=16.0, text=" In a small town by the sea. ", sidecar={"speaker": "s1"})
QUESTION = a_turn(
    index=11, start=7.0, end=9.5, speaker="B", text="Where did you grow up?", sidecar={"speaker": "s1"}
)


def speech_of(draft, message=-1):
    return draft.messages[message].content[-1]


def test_continuation_is_the_speech_and_nothing_else():
    draft = compose("continuation", [TURN], CONFIG)
    (message,) = draft.messages
    (speech,) = message.content
    assert message.role is None
    assert speech.codes == whole_groups(TURN.codes)
    assert speech.clip == Clip("calls/one.wav", 0, 10.0, 16.0)


def test_a_short_turn_is_no_continuation():
    with pytest.raises(DataError, match=r"4\.00 s, under 5 s") as caught:
        compose("continuation", [a_turn(end=4.0)], CONFIG)
    assert caught.value.code == "too_short"
    assert compose("continuation", [a_turn(end=4.0)], ComposeConfig(continuation_seconds_min=3))


def test_asr_asks_for_the_words_of_the_speech():
    human, assistant = compose("asr", [TURN], ONE).messages
    assert (human.role, human.content[0]) == ("human", Text("Write:\n"))
    assert human.content[1].codes == whole_groups(TURN.codes)
    assert assistant == Message("assistant", (Text("In a small town by the sea."),))


def test_tts_asks_for_the_speech_of_the_words():
    human, assistant = compose("tts", [TURN], ONE).messages
    assert human == Message("human", (Text("Say:\n"), Text("In a small town by the sea.")))
    assert assistant.role == "assistant"
    assert assistant.content[0].codes == whole_groups(TURN.codes)


def test_aqtaa_answers_a_spoken_question_in_text_and_speech():
    human, assistant = compose("aqtaa", [QUESTION, TURN], CONFIG).messages
    assert (human.role, human.content[0].text, human.content[0].turn) == (
        "human",
        "Where did you grow up?",
        11,
    )
    text, speech = assistant.content
    assert (assistant.role, assistant.interleaved) == ("assistant", True)
    assert (text, speech.turn, speech.speaker) == (Text("In a small town by the sea."), 12, "A")


def test_aqtaa_may_have_a_system_prompt():
    config = ComposeConfig(system_prompts={"en": ("You are a voice assistant.",)})
    system, *_ = compose("aqtaa", [QUESTION, TURN], config).messages
    assert system == Message("system", (Text("You are a voice assistant."),))


@pytest.mark.parametrize("family", ["asr", "tts"])
def test_instructions_speak_the_language_of_the_turn_and_english_where_there_is_none(family):
    given = getattr(CONFIG, f"{family}_instructions")
    for language, expected in [("zh", given["zh"]), ("ru", given["ru"]), ("fi", given["en"])]:
        draft = compose(family, [a_turn(language=language)], CONFIG)
        assert draft.messages[0].content[0].text in expected


def test_the_phrasing_is_drawn_by_the_key_so_every_build_draws_the_same_and_samples_differ():
    drafts = [compose("asr", [a_turn(index=index)], CONFIG) for index in range(40)]
    drawn = [draft.messages[0].content[0].text for draft in drafts]
    assert drawn == [compose("asr", [a_turn(index=n)], CONFIG).messages[0].content[0].text for n in range(40)]
    assert set(drawn) == set(CONFIG.asr_instructions["en"])


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_are_short_plain_and_their_own(family):
    turns = [QUESTION, TURN] if family == "aqtaa" else [TURN]
    key = compose(family, turns, CONFIG).key
    assert re.fullmatch(r"[a-z0-9-]{1,99}", key)
    assert key.startswith(TURN.key[:16])
    assert key.endswith(f"00012-{family}")


def test_the_record_says_where_a_sample_comes_from_and_what_was_measured():
    record = compose("aqtaa", [QUESTION, TURN], CONFIG).record
    assert record["speakers"] == ["A", "B"]
    assert record["language"] == "en"
    assert record["source"] == {
        "recording": "calls/one.wav",
        "start": 7.0,
        "end": 16.0,
        "sample_rate": 8000,
        "channel_mode": "split",
    }
    assert record["sidecar"] == {"speaker": "s1"}
    question, answer = record["turns"]
    assert (question["index"], question["speaker"], question["start"]) == (11, "B", 7.0)
    assert answer["assessment"]["dnsmos_overall"] == 2.9
    assert answer["transcript"]["average_log_probability"] == -0.2
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("family", ["asr", "tts", "aqtaa"])
def test_no_words_no_sample(family):
    silent = a_turn(text=" ")
    with pytest.raises(DataError) as caught:
        compose(family, [QUESTION, silent] if family == "aqtaa" else [silent], CONFIG)
    assert caught.value.code == "no_text"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("codes", [None, Codes((), ()), Codes((1, 2), (1, 2)), Codes((1,), (1, 2, 3))])
def test_no_whole_group_of_codes_no_sample(family, codes):
    bare = replace(TURN, codes=codes)
    with pytest.raises(DataError) as caught:
        compose(family, [QUESTION, bare] if family == "aqtaa" else [bare], CONFIG)
    assert caught.value.code == "no_codes"
