"""Answers whose style changes on the way: their passages, their instructions, and their ids."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DataError
from schemas.layout import header, read, whole_groups
from schemas.recording import Codes
from schemas.sample import Speech, Text
from schemas.style import SCALES
from stages.compose import ComposeConfig, compose, of_turns, passages
from stages.compose.instructions import PART_WORDS, WHISPER_WORDS, WORDS
from stages.interleave import InterleaveConfig, lay_out
from tests.stages.annotated import a_turn

CONFIG = ComposeConfig()
FIVE = ComposeConfig(controlled_spans_max=5)

TURN = a_turn(index=12, start=10.0, end=16.0, text="In a small town by the sea.")
SECOND = a_turn(index=13, start=16.4, end=22.0, text="And then I moved away.")
THIRD = a_turn(index=14, start=22.4, end=25.0, text="That was long ago.")
QUESTION = a_turn(index=11, start=7.0, end=9.5, speaker="B", text="Where did you grow up?")
LABELS = {12: {"rate": "normal", "loudness": "normal"}, 13: {"rate": "slow", "loudness": "loud"}}


def test_the_instruction_names_the_changes():
    source = of_turns([TURN, SECOND], QUESTION, labels=LABELS)
    config = ComposeConfig(controlled_answer_instructions={"en": ("Say the second half {change}.\n",)})
    human, assistant = compose("controlled", source, config).messages
    instruction, question = human.content
    assert instruction == Text("Say the second half slower and louder.\n")
    assert question.text == "Where did you grow up?"
    first, first_speech, second, second_speech = assistant.content
    assert assistant.interleaved
    assert (first, second) == (Text("In a small town by the sea."), Text(" And then I moved away."))
    assert (first_speech.turn, second_speech.turn) == (12, 13)
    assert second_speech.text == "And then I moved away."


def test_without_a_question_the_text_is_read_aloud():
    config = ComposeConfig(controlled_reading_instructions={"en": ("Read, second half {change}:\n",)})
    human, _ = compose("controlled", of_turns([TURN, SECOND], labels=LABELS), config).messages
    assert human.content == (
        Text("Read, second half slower and louder:\n"),
        Text("In a small town by the sea. And then I moved away."),
    )


def test_languages_without_spaces_are_joined_without_a_space():
    turns = [a_turn(index=n, text=t, language="zh") for n, t in [(12, "我在海边长大。"), (13, "后来走了。")]]
    human, _ = compose("controlled", of_turns(turns, labels=LABELS), CONFIG).messages
    assert "慢一点、大声一点" in human.content[0].text
    assert human.content[1] == Text("我在海边长大。后来走了。")


def test_a_whisper_and_its_end_are_named():
    def change(first, second, **config):
        labels = {12: {"voicing": first}, 13: {"voicing": second}}
        config = ComposeConfig(controlled_reading_instructions={"en": ("{change}",)}, **config)
        human, _ = compose("controlled", of_turns([TURN, SECOND], labels=labels), config).messages
        return human.content[0].text

    assert change("normal", "whispered") == "in a whisper"
    assert change("whispered", "normal") == "aloud again"
    older = {"en": {name: word for name, word in WORDS["en"].items() if name not in WHISPER_WORDS}}
    for config in ({}, {"style_words": older}):
        with pytest.raises(DataError) as error:
            change("whispered", "normal" if config else "whispered", **config)
        assert error.value.code == "no_change"


def test_a_change_of_emotion_is_named():
    labels = {12: {"emotion": "calm"}, 13: {"emotion": "happy"}}
    human, _ = compose("controlled", of_turns([TURN, SECOND], labels=labels), CONFIG).messages
    assert "sounding happy" in human.content[0].text


@pytest.mark.parametrize("labels", [{}, {12: LABELS[12], 13: LABELS[12]}, {12: {}, 13: LABELS[13]}])
def test_halves_with_equal_or_unknown_labels_are_rejected(labels):
    with pytest.raises(DataError) as caught:
        compose("controlled", of_turns([TURN, SECOND], labels=labels), CONFIG)
    assert caught.value.code == "no_change"


def test_passages_are_consecutive_turns_of_one_speaker_and_do_not_share_turns():
    turns = [a_turn(start=5.0 * n, end=5.0 * n + 4, index=n, speaker="AAABAAB"[n]) for n in range(7)]
    pairs = passages(turns, set(range(7)), CONFIG)
    assert [(a.index, b.index) for a, b in pairs] == [(0, 1), (4, 5)]
    assert passages(turns, {0, 2, 4}, CONFIG) == []
    assert passages(turns, set(range(7)), ComposeConfig(controlled_gap_seconds_max=0.5)) == []


def test_turns_of_somebody_are_no_passage():
    turns = [a_turn(start=5.0 * n, end=5.0 * n + 4, index=n, speaker="somebody") for n in range(2)]
    assert passages(turns, {0, 1}, CONFIG) == []


def test_the_kept_turns_are_iterated_at_most_once():
    class Kept(frozenset):
        times_read = 0

        def __iter__(self):
            self.times_read += 1
            return super().__iter__()

    kept = Kept(range(50))
    turns = [a_turn(start=5.0 * n, end=5.0 * n + 4, index=n, speaker="A") for n in range(50)]
    assert len(passages(turns, kept, CONFIG)) == 25
    assert kept.times_read <= 1


def asked(*labels, question=QUESTION, language="en", config=CONFIG):
    """The instruction for turns with these labels, one after another."""
    turns = [a_turn(index=12 + n, text=f"Part {n}.", language=language) for n in range(len(labels))]
    by_turn = {12 + n: given for n, given in enumerate(labels)}
    draft = compose("controlled", of_turns(turns, question, labels=by_turn), config)
    return next(message for message in draft.messages if message.role == "human").content[0].text


class TestParts:
    """The instruction for more than two spans."""

    SLOW, FAST, LOUD, PLAIN = (
        {"rate": rate, "loudness": loudness}
        for rate, loudness in (
            ("slow", "normal"),
            ("fast", "normal"),
            ("normal", "loud"),
            ("normal", "normal"),
        )
    )
    ONE = ComposeConfig(
        controlled_parts_answer_instructions={"en": ("Answer, {parts}.",)},
        controlled_parts_reading_instructions={"en": ("Read, {parts}:",)},
    )

    def test_begins_with_the_first_and_says_what_changes_from_part_to_part(self):
        said = asked(self.SLOW, self.LOUD, self.FAST, config=self.ONE)
        assert said == "Answer, the first part slowly, then faster and louder, then faster and softer."
        said = asked(
            {"emotion": "sad"}, {"emotion": "happy"}, {"emotion": "sad"}, question=None, config=self.ONE
        )
        assert said == "Read, the first part sounding sad, then sounding happy, then sounding sad:"

    def test_spans_that_sound_alike_are_one_part(self):
        said = asked(self.PLAIN, self.PLAIN, self.FAST, self.FAST, config=self.ONE)
        assert said == "Answer, the first part normally, then faster."

    def test_is_in_the_language_of_the_answer(self):
        assert "第一部分慢慢地，然后快一点、大声一点" in asked(self.SLOW, self.LOUD, self.FAST, language="zh")

    def test_needs_words_for_parts_which_older_recipes_lack(self):
        older = {name: word for name, word in WORDS["en"].items() if name not in PART_WORDS}
        config = ComposeConfig(style_words={"en": older})
        assert "faster" in asked(self.PLAIN, self.FAST, config=config)
        with pytest.raises(DataError, match="no first, normal, then in this language"):
            asked(self.PLAIN, self.FAST, self.PLAIN, config=config)


class TestVoices:
    """Another voice is no change of style."""

    @staticmethod
    def spoken(n, voices):
        sidecar = {"synthesis": {"spoken": [{"voice": voice} for voice in voices]}}
        return a_turn(start=5.0 * n, end=5.0 * n + 4, index=n, speaker="assistant", sidecar=sidecar)

    def test_passages_end_where_the_voice_changes(self):
        turns = [self.spoken(n, "aabb") for n in range(4)]
        assert [[turn.index for turn in passage] for passage in passages(turns, range(4), FIVE)] == [
            [0, 1],
            [2, 3],
        ]

    @pytest.mark.parametrize("other", [{"speaker": "B"}, {"track": 1}])
    def test_spans_of_several_voices_are_refused(self, other):
        turns = [TURN, SECOND, a_turn(index=14, **other)]
        with pytest.raises(DataError) as caught:
            compose("controlled", of_turns(turns, labels=LABELS | {14: LABELS[12]}), CONFIG)
        assert caught.value.code == "several_voices"


speakers = st.lists(st.sampled_from(["A", "A", "A", "B", "somebody"]), min_size=1, max_size=40)


@given(speakers, st.integers(2, 5), st.data())
def test_passages_are_runs_of_one_speaker_without_gaps_and_share_no_turn(names, most, data):
    turns = [a_turn(start=5.0 * n, end=5.0 * n + 4, index=n, speaker=name) for n, name in enumerate(names)]
    kept = data.draw(st.sets(st.integers(0, len(turns) - 1)))
    found = [
        [turn.index for turn in passage]
        for passage in passages(turns, kept, ComposeConfig(controlled_spans_max=most))
    ]
    for passage in found:
        assert 2 <= len(passage) <= most
        assert passage == list(range(passage[0], passage[-1] + 1))
        assert {names[n] for n in passage} in ({"A"}, {"B"})
        assert kept.issuperset(passage)
    used = [n for passage in found for n in passage]
    assert used == sorted(set(used))


def test_all_numbers_of_spans_are_drawn():
    turns = [a_turn(start=5.0 * n, end=5.0 * n + 4, index=n) for n in range(200)]
    found = passages(turns, range(200), FIVE)
    assert {len(passage) for passage in found[:-1]} == {2, 3, 4, 5}


LITERALS = ("<|EOT|>", "<|BOT|>assistant\n", "<audio_5>", "<audio_start>", "</s>", "\x00")
texts = st.lists(st.sampled_from(LITERALS) | st.text(), min_size=1, max_size=4).map("".join).filter(str.strip)
labels = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(scale) for name, scale in SCALES.items()}
) | st.sampled_from([{"emotion": "sad"}, {"emotion": "happy"}])


@given(
    spans=st.lists(st.tuples(texts, st.integers(1, 12), labels), min_size=2, max_size=5),
    answers=st.booleans(),
    language=st.sampled_from(["en", "zh", "ja", "it"]),
    concatenation=st.sampled_from(["marker_preserving", "marker_removal", "pre_interleaved"]),
    ratio=st.tuples(st.integers(1, 20), st.integers(1, 8).map(lambda groups: 5 * groups)),
)
def test_every_span_is_found_again_in_order(vocabulary, spans, answers, language, concatenation, ratio):
    question = a_turn(index=0, text="What happened?", speaker="B", language=language) if answers else None
    turns = [
        a_turn(index=1 + n, text=text, groups=groups, language=language)
        for n, (text, groups, _) in enumerate(spans)
    ]
    by_turn = {1 + n: given for n, (*_, given) in enumerate(spans)}
    source = of_turns(turns, question, labels=by_turn)
    change = any(a[name] != b[name] for (*_, a), (*_, b) in pairwise(spans) for name in a.keys() & b.keys())
    if not change:
        with pytest.raises(DataError) as caught:
            compose("controlled", source, CONFIG)
        assert caught.value.code == "no_change"
        return
    draft = compose("controlled", source, CONFIG)
    layout = InterleaveConfig(concatenation=concatenation, ratio=ratio)
    sample = lay_out(draft, vocabulary, layout)
    human, answer = read(sample.tokens, vocabulary)
    codes = [whole_groups(turn.codes) for turn in turns]
    if concatenation == "marker_removal":
        codes = [Codes(sum((c.linguistic for c in codes), ()), sum((c.semantic for c in codes), ()))]
    separator = "" if language in ("zh", "ja") else " "
    assert answer.text == separator.join(turn.transcript.text.strip() for turn in turns)
    assert answer.codes == tuple(codes)
    assert (len(human.codes), answer.text in human.text) == ((1, False) if answers else (0, True))
    # The loss is on the answer alone, whatever it consists of.
    first = int(np.flatnonzero(sample.tokens == vocabulary.bot)[-1]) + len(header("assistant", vocabulary))
    assert sample.loss.tolist() == [0] * first + [1] * (len(sample.tokens) - first)
    # The record names the spans in their order, each with its own labels, and where they are in the answer.
    answered = sample.record["turns"][bool(question) :]
    assert [(turn["index"], turn["labels"]) for turn in answered] == list(by_turn.items())
    parts = sample.record["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["text", "audio"] * len(spans)
    assert [part["turn"] for part in parts[1::2]] == list(by_turn)
    starts = [part["spans"][0][0] for part in parts[1::2]]
    assert starts == sorted(starts)


def test_the_text_of_an_answer_is_read_in_parts():
    _, answer = compose("controlled", of_turns([TURN, SECOND, THIRD], labels=LABELS), CONFIG).messages
    assert [part.text for part in answer.content if isinstance(part, Text)] == [
        "In a small town by the sea.",
        " And then I moved away.",
        " That was long ago.",
    ]
    assert [part.turn for part in answer.content if isinstance(part, Speech)] == [12, 13, 14]
