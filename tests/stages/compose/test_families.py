"""The messages of every family, composed from kept turns."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DataError
from schemas.layout import ReadMessage, header, read, whole_groups
from schemas.recording import Codes, Word
from schemas.sample import Clip, Message, Speech, Text, turns_in
from stages.compose import FAMILIES, ComposeConfig, SampleSource, SourceSpan, compose, of_turns
from stages.compose.clauses import clauses
from stages.interleave import InterleaveConfig, lay_out
from tests.stages.annotated import a_turn

CONFIG = ComposeConfig()
ONE = ComposeConfig(asr_instructions={"en": ("Write:\n",)}, tts_instructions={"en": ("Say:\n",)})

TURN = a_turn(
    index=12, start=10.0, end=16.0, groups=50, text=" In a small town by the sea. ", sidecar={"speaker": "s1"}
)
QUESTION = a_turn(
    index=11, start=7.0, end=9.5, speaker="B", text="Where did you grow up?", sidecar={"speaker": "s1"}
)


def speech_of(draft, message=-1):
    return draft.messages[message].content[-1]


def test_continuation_is_speech_alone():
    draft = compose("continuation", of_turns([TURN]), CONFIG)
    (message,) = draft.messages
    (speech,) = message.content
    assert message.role is None
    assert speech.codes == whole_groups(TURN.codes)
    assert speech.clip == Clip("calls/one.wav", 0, 10.0, 16.0)


def test_a_short_turn_is_rejected_for_continuation():
    with pytest.raises(DataError, match=r"4\.00 s, under 5 s") as caught:
        compose("continuation", of_turns([a_turn(end=4.0)]), CONFIG)
    assert caught.value.code == "too_short"
    assert compose("continuation", of_turns([a_turn(end=4.0)]), ComposeConfig(continuation_seconds_min=3))


def test_asr_maps_speech_to_its_text():
    human, assistant = compose("asr", of_turns([TURN]), ONE).messages
    assert (human.role, human.content[0]) == ("human", Text("Write:\n"))
    assert human.content[1].codes == whole_groups(TURN.codes)
    assert assistant == Message("assistant", (Text("In a small town by the sea."),))


def test_tts_maps_text_to_its_speech():
    human, assistant = compose("tts", of_turns([TURN]), ONE).messages
    assert human == Message("human", (Text("Say:\n"), Text("In a small town by the sea.")))
    assert assistant.role == "assistant"
    assert assistant.content[0].codes == whole_groups(TURN.codes)


@pytest.mark.parametrize("family", ["asr", "tts"])
def test_only_the_turns_of_named_speakers_are_written_down_or_spoken(family):
    config = ComposeConfig(**{f"{family}_speakers": ["A"]})
    assert compose(family, of_turns([TURN]), config) == compose(family, of_turns([TURN]), CONFIG)
    with pytest.raises(DataError, match="its speaker is B, not A") as caught:
        compose(family, of_turns([QUESTION]), config)
    assert caught.value.code == "other_speaker"


def test_aqtaa_answers_a_spoken_question_in_text_and_speech():
    human, assistant = compose("aqtaa", of_turns([TURN], QUESTION), CONFIG).messages
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
    system, *_ = compose("aqtaa", of_turns([TURN], QUESTION), config).messages
    assert system == Message("system", (Text("You are a voice assistant."),))


@pytest.mark.parametrize("family", ["asr", "tts"])
def test_instructions_are_in_the_language_of_the_turn_or_else_in_english(family):
    phrasings = getattr(CONFIG, f"{family}_instructions")
    for language, expected in [("zh", phrasings["zh"]), ("ru", phrasings["ru"]), ("fi", phrasings["en"])]:
        draft = compose(family, of_turns([a_turn(language=language)]), CONFIG)
        assert draft.messages[0].content[0].text in expected


def test_the_phrasing_is_chosen_by_the_key_of_the_sample():
    drafts = [compose("asr", of_turns([a_turn(index=index)]), CONFIG) for index in range(40)]
    chosen = [draft.messages[0].content[0].text for draft in drafts]
    assert chosen == [
        compose("asr", of_turns([a_turn(index=n)]), CONFIG).messages[0].content[0].text for n in range(40)
    ]
    assert set(chosen) == set(CONFIG.asr_instructions["en"])


SECOND = a_turn(index=13, start=16.4, end=22.0, text="And then I moved away.")
LABELS = {12: {"rate": "normal", "loudness": "normal"}, 13: {"rate": "slow", "loudness": "loud"}}


def as_line(turn):
    """A turn as a line of a song, with its words from an LRC file."""
    transcript = turn.transcript and replace(turn.transcript, source="lrc")
    return replace(turn, sings=True, metadata={"title": "By the sea", "artist": "Ann"}, transcript=transcript)


def source_of(family, turn=TURN):
    """A source of the kind that the family needs, with `turn` as the (first) answer."""
    match FAMILIES[family][0]:
        case "turn":
            return of_turns([turn])
        case "exchange":
            return of_turns([turn], QUESTION, labels={turn.index: {"dialect": "cantonese"}})
        case "line":
            return of_turns([as_line(turn)])
        case "lines":
            return of_turns([as_line(turn)], as_line(QUESTION))
        case "passage":
            return of_turns([turn, SECOND], QUESTION, labels=LABELS)
    return SampleSource("0123456789abcdef-row-00007", (SourceSpan("Once upon a time."),), "en", {}, {})


CLAUSES = replace(
    TURN,
    transcript=replace(
        TURN.transcript,
        text="In a small town, by the",
        words=tuple(
            Word(10.0 + n, 10.86 + n, text, 0.9)
            for n, text in enumerate([" In", " a", " small", " town,", " by", " the"])
        ),
    ),
)


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_are_short_and_plain_and_contain_family_and_turns(family):
    key = compose(family, source_of(family, CLAUSES), CONFIG).key
    assert re.fullmatch(r"[a-z0-9-]{1,99}", key)
    assert key.endswith(f"-{family}")
    if family != "replay":
        indices = {
            "turn": (12,),
            "line": (12,),
            "lines": (11, 12),
            "exchange": (11, 12),
            "passage": (11, 12, 13),
        }[FAMILIES[family][0]]
        assert key.startswith(TURN.key[:16])
        assert turns_in(key) == indices


class TestAnswers:
    """A question of one speaker, the answer of another one, and their conversation before."""

    HISTORY = (
        a_turn(index=7, start=0.0, end=1.0, speaker="B", text="So."),
        a_turn(index=8, start=1.0, end=2.0, speaker="B", text="How old are you?"),
        a_turn(index=9, start=2.0, end=4.0, speaker="A", text="Fifty."),
    )

    @pytest.mark.parametrize(
        ("family", "question_types", "answer_texts"),
        [
            ("tqta", ["Text"], ["In a small town by the sea."]),
            ("aqta", ["Speech"], ["In a small town by the sea."]),
            ("taqta", ["Speech"], ["Where did you grow up?\n", "In a small town by the sea."]),
        ],
    )
    def test_a_text_or_spoken_question_has_a_text_answer(self, family, question_types, answer_texts):
        human, assistant = compose(family, of_turns([TURN], QUESTION), CONFIG).messages
        assert [type(part).__name__ for part in human.content] == question_types
        assert human.content[0].text == "Where did you grow up?"
        assert assistant == Message("assistant", tuple(map(Text, answer_texts)))

    @pytest.mark.parametrize("family", ["tqta", "aqta", "taqta", "aqtaa"])
    def test_earlier_turns_are_text_and_merged_by_role(self, family):
        config = ComposeConfig(system_prompts={"en": ("Be kind.",)})
        source = of_turns([TURN], QUESTION, self.HISTORY)
        system, *history, human, assistant = compose(family, source, config).messages
        assert system.role == "system"
        assert history == [
            Message("human", (Text("So. How old are you?"),)),
            Message("assistant", (Text("Fifty."),)),
        ]
        assert (human.role, assistant.role) == ("human", "assistant")

    def test_history_starts_with_the_asker(self):
        source = of_turns([TURN], QUESTION, self.HISTORY[2:])
        assert source.history == ()

    def test_a_text_source_has_a_text_question(self):
        source = SampleSource(
            "k", (SourceSpan("Four."),), None, {}, {}, question=SourceSpan("Two and two?"), system="Count."
        )
        assert compose("tqta", source, CONFIG).messages == (
            Message("system", (Text("Count."),)),
            Message("human", (Text("Two and two?"),)),
            Message("assistant", (Text("Four."),)),
        )
        with pytest.raises(DataError) as caught:
            compose("aqta", source, CONFIG)
        assert caught.value.code == "no_speech"

    def test_a_text_question_may_be_spoken_in_another_recording(self):
        voice = a_turn(recording="speech/1.wav", start=0.0, end=2.0, text="two and to")
        source = SampleSource(
            "k", (SourceSpan("Four."),), None, {}, {}, question=SourceSpan("Two and two?", voice)
        )
        draft = compose("aqta", source, CONFIG)
        (speech,) = draft.messages[0].content
        assert (speech.text, speech.clip.recording) == ("Two and two?", "speech/1.wav")
        assert draft.record["speakers"] == ["A"]


class TestDialect:
    """The instruction names what the answer is in, in the language of the question."""

    def instruction(self, dialect=None, language="zh", asked_in="zh", **config):
        question = replace(QUESTION, transcript=replace(QUESTION.transcript, language=asked_in))
        answer = replace(TURN, transcript=replace(TURN.transcript, language=language))
        labels = {12: {"dialect": dialect} if dialect else {}}
        human, assistant = compose(
            "dialect", of_turns([answer], question, labels=labels), ComposeConfig(**config)
        ).messages
        assert assistant == compose("aqtaa", of_turns([answer], question), CONFIG).messages[-1]
        assert human.content[1].text == "Where did you grow up?"
        return human.content[0].text

    @pytest.mark.parametrize(
        ("dialect", "language", "asked_in", "named"),
        [
            ("cantonese", "yue", "yue", "用粤语"),
            ("sichuanese", "zh", "zh", "用四川话"),
            ("cantonese", "yue", "en", "in Cantonese"),
            (None, "ja", "en", "in Japanese"),
            (None, "ja", "zh", "用日语"),
            (None, "en", "ja", "英語で"),
            ("苏州话", "zh", "zh", "用苏州话"),
            ("xiang", "zh", "fi", "in the dialect xiang"),
        ],
    )
    def test_it_is_named_in_the_language_of_the_question(self, dialect, language, asked_in, named):
        assert named in self.instruction(dialect, language, asked_in)

    def test_the_instructions_are_those_of_the_recipe(self):
        given = {"zh": ("{dialect}，谢谢。",)}
        assert self.instruction("cantonese", dialect_instructions=given) == "用粤语，谢谢。"

    def test_an_answer_in_the_language_of_its_question_and_no_dialect_is_none(self):
        with pytest.raises(DataError) as caught:
            self.instruction()
        assert caught.value.code == "no_dialect"

    def test_a_language_without_a_name_is_not_asked_for(self):
        with pytest.raises(DataError, match="has no name for fi in this language"):
            self.instruction(language="fi")

    def test_reading_aloud_may_ask_for_it_too(self):
        turn = replace(TURN, transcript=replace(TURN.transcript, language="zh"))
        source = of_turns([turn], labels={12: {"dialect": "cantonese", "rate": "slow"}})
        human, _ = compose("tts", source, ComposeConfig(tts_style_share=1)).messages
        assert "慢慢地、用粤语" in human.content[0].text


class TestInterleaved:
    def test_clauses_alternate_between_text_and_speech(self):
        (message,) = compose("interleaved", of_turns([CLAUSES]), CONFIG).messages
        text, speech = message.content
        assert message.role is None
        assert text == Text("In a small town,")
        # The cut between 13.86 s and 14 s is rounded to the nearest group boundary.
        assert speech.text == "by the"
        assert (speech.clip.start, speech.clip.end) == (pytest.approx(10 + 33 * 0.12), 16.0)
        whole = whole_groups(CLAUSES.codes)
        assert speech.codes == Codes(whole.linguistic[2 * 33 :], whole.semantic[3 * 33 :])

    @given(data=st.data())
    def test_every_group_and_every_word_belongs_to_one_clause(self, data):
        lengths = data.draw(st.lists(st.floats(0.05, 1.5), min_size=1, max_size=30))
        pauses = data.draw(st.lists(st.floats(0.0, 1.0), min_size=len(lengths), max_size=len(lengths)))
        ends = st.sampled_from(["", ",", ".", '?"', "。"])
        time, words = 3.0, []
        for n, (length, pause) in enumerate(zip(lengths, pauses, strict=True)):
            words.append(Word(time, time + length, f" w{n}{data.draw(ends)}", 0.9))
            time += length + pause
        groups = max(1, int((time - 3.0) / 0.12))
        turn = a_turn(start=3.0, end=time, words=words, groups=groups)
        split = clauses(of_turns([turn]).answer[0], ComposeConfig(clause_seconds_min=0.5))
        assert " ".join(c.text.text for c in split).split() == [word.text.strip() for word in words]
        assert sum((c.speech.codes.linguistic for c in split), ()) == whole_groups(turn.codes).linguistic
        assert sum((c.speech.codes.semantic for c in split), ()) == whole_groups(turn.codes).semantic
        assert all(c.speech.codes.linguistic for c in split)
        assert split[0].speech.clip.start == 3.0
        for before, after in pairwise(split):
            assert before.speech.clip.end == after.speech.clip.start

    def test_a_single_clause_or_missing_word_times_are_rejected(self):
        for turn, code in [
            (
                replace(CLAUSES, transcript=replace(CLAUSES.transcript, words=CLAUSES.transcript.words[:2])),
                "one_clause",
            ),
            (TURN, "no_words"),
        ]:
            with pytest.raises(DataError) as caught:
                compose("interleaved", of_turns([turn]), CONFIG)
            assert caught.value.code == code


def test_a_share_of_tts_instructions_names_the_style_of_the_labels():
    labels = {"rate": "slow", "pitch": "normal", "loudness": "soft"}
    drafts = {
        share: [
            compose(
                "tts", of_turns([a_turn(index=n)], labels={n: labels}), ComposeConfig(tts_style_share=share)
            )
            for n in range(60)
        ]
        for share in (0, 0.5, 1)
    }
    styled = {
        share: sum("slowly and softly" in d.messages[0].content[0].text for d in drafts_of_share)
        for share, drafts_of_share in drafts.items()
    }
    assert styled[0] == 0
    assert 15 < styled[0.5] < 45
    assert styled[1] == 60


def test_incomplete_style_words_are_rejected():
    with pytest.raises(ValueError, match="de is missing emotion"):
        ComposeConfig(style_words={"en": CONFIG.style_words["en"], "de": {"and": " und "}})


def test_the_record_has_the_origin_and_measures_of_a_sample():
    record = compose("aqtaa", of_turns([TURN], QUESTION), CONFIG).record
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


@pytest.mark.parametrize(
    "family",
    ["asr", "tts", "tqta", "aqta", "taqta", "aqtaa", "dialect", "controlled", "sing", "lyrics"],
)
def test_a_turn_without_words_is_rejected(family):
    with pytest.raises(DataError) as caught:
        compose(family, source_of(family, replace(TURN, transcript=None)), CONFIG)
    assert caught.value.code == "no_text"


@pytest.mark.parametrize(
    "family", ["continuation", "interleaved", "asr", "tts", "aqtaa", "dialect", "controlled"]
)
@pytest.mark.parametrize("codes", [None, Codes((), ()), Codes((1, 2), (1, 2)), Codes((1,), (1, 2, 3))])
def test_a_turn_without_a_whole_group_of_codes_is_rejected(family, codes):
    with pytest.raises(DataError) as caught:
        compose(family, source_of(family, replace(CLAUSES, codes=codes)), CONFIG)
    assert caught.value.code == "no_codes"


class TestRoundTrip:
    """Every family in every mode, with arbitrary text."""

    LITERALS = ("<|EOT|>", "<|BOT|>assistant\n", "<audio_5>", "<audio_start>", "</s>", "<|0.00|>", "\x00")
    texts = st.lists(st.sampled_from(LITERALS) | st.text(), min_size=1, max_size=6).map("".join)

    @pytest.mark.parametrize("family", FAMILIES)
    @given(
        texts=st.lists(texts.filter(str.strip), min_size=4, max_size=4),
        groups=st.lists(st.integers(1, 30), min_size=3, max_size=3),
        layout=st.builds(
            InterleaveConfig,
            mode=st.sampled_from(["interleaved", "text_first", "audio_only", "text_only"]),
            concatenation=st.sampled_from(["marker_preserving", "marker_removal", "pre_interleaved"]),
            ratio=st.tuples(st.integers(1, 20), st.integers(1, 8).map(lambda groups: 5 * groups)),
        ),
    )
    def test_ids_decode_to_roles_texts_and_codes(self, vocabulary, family, texts, groups, layout):
        earlier, question_text, answer_text, second_text = texts
        history = [a_turn(index=n, text=earlier, speaker="BA"[n]) for n in range(2)]
        question = a_turn(index=2, text=question_text, speaker="B", groups=groups[0])
        answer = a_turn(index=3, end=6.0, text=answer_text, groups=groups[1], words=words_of(answer_text))
        second = a_turn(index=4, text=second_text, groups=groups[2])
        labels = {3: {"rate": "slow"}, 4: {"rate": "fast"}}
        source = {
            "turn": of_turns([answer]),
            "exchange": of_turns([answer], question, history, {3: {"dialect": "sichuanese"}}),
            "passage": of_turns([answer, second], question, history, labels),
            "line": of_turns([as_line(answer)]),
            "lines": of_turns([as_line(second)], as_line(answer)),
            "document": SampleSource("k", (SourceSpan(answer_text),), None, {}, {}),
        }[FAMILIES[family][0]]
        config = ComposeConfig(clause_seconds_min=0.1)
        if family == "interleaved" and len(clauses(source.answer[0], config)) < 2:
            return
        draft = compose(family, source, config)
        sample = lay_out(draft, vocabulary, layout)
        tokens, loss = sample.tokens, sample.loss
        assert read(tokens, vocabulary) == tuple(expected(message, layout) for message in draft.messages)
        assert ((tokens >= 0) & (tokens < vocabulary.size)).all()
        if draft.messages[0].role is None:
            assert loss.tolist() == [0] + [1] * (len(tokens) - 1)
        else:
            head = len(header("assistant", vocabulary))
            first = int(np.flatnonzero(tokens == vocabulary.bot)[-1]) + head
            assert loss.tolist() == [0] * first + [1] * (len(tokens) - first)


def words_of(text):
    """Three timed words within four seconds, each with the given text."""
    return [Word(n * 1.2, n * 1.2 + 1.0, f" {text},", 0.9) for n in range(3)]


def expected(message, layout):
    """The message that should be read back, according to the documented token layout."""
    only = {"audio_only": Speech, "text_only": Text}.get(layout.mode) if message.interleaved else None
    parts = [part for part in message.content if only is None or isinstance(part, only)]
    codes = [part.codes for part in parts if isinstance(part, Speech)]
    if message.interleaved and layout.concatenation == "marker_removal" and codes:
        linguistic = sum((c.linguistic for c in codes), ())
        codes = [Codes(linguistic, sum((c.semantic for c in codes), ()))]
    text = "".join(part.text for part in parts if isinstance(part, Text))
    return ReadMessage(message.role, text, tuple(codes))
