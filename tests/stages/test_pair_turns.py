"""Pairing turns as questions and answers, and the reasons of turns that are not paired."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.recording import Problem
from stages.pair_turns import Conversation, PairTurnsConfig, pair_turns
from tests.stages.annotated import a_turn

DEFAULT = PairTurnsConfig()


def talk(*turns):
    """Turns of one recording from tuples of (speaker, start, end, text, attributes), in order."""
    result = []
    for index, (speaker, start, end, *rest) in enumerate(turns):
        text = rest[0] if rest else "I have lived here all my life"
        result.append(a_turn(start, end, speaker, text, index, **(rest[1] if len(rest) > 1 else {})))
    return result


def pairs(turns, kept=None, config=DEFAULT):
    found = pair_turns(turns, {turn.index for turn in turns} if kept is None else kept, config)
    assert len(found.pairs) + sum(found.reasons.values()) == len(turns)
    return [(pair.question.index, pair.answer.index) for pair in found.pairs], found.reasons


def test_a_question_and_its_answer():
    turns = talk(("A", 0, 3, "Where did you grow up?"), ("B", 3.5, 8, "In a small town by the sea"))
    found = pair_turns(turns, {0, 1}, DEFAULT)
    (pair,) = found.pairs
    assert (pair.question, pair.answer, pair.gap) == (turns[0], turns[1], 0.5)
    assert found.reasons == {"nothing_before": 1}


def test_an_answer_can_be_the_next_question():
    turns = talk(("A", 0, 3), ("B", 3.2, 6), ("A", 6.1, 9))
    assert pairs(turns) == ([(0, 1), (1, 2)], {"nothing_before": 1})


def test_turns_of_one_speaker_are_not_paired():
    assert pairs(talk(("A", 0, 3), ("A", 3.5, 6))) == ([], {"nothing_before": 1, "same_speaker": 1})


def test_turns_of_somebody_are_not_paired():
    assert pairs(talk(("somebody", 0, 3), ("A", 3.5, 6)))[1]["unknown_speaker"] == 1
    assert pairs(talk(("A", 0, 3), ("somebody", 3.5, 6)))[1]["unknown_speaker"] == 1


class TestCertainty:
    """Whose turn it is must be certain before a turn answers another."""

    @staticmethod
    def talk(margin: float | None, track: int = 0):
        turns = talk(("A", 0, 3), ("B", 3.5, 6))
        first = replace(turns[0], turn=replace(turns[0].turn, speaker_margin=0.5))
        return [first, replace(turns[1], turn=replace(turns[1].turn, speaker_margin=margin, track=track))]

    def test_turns_of_voices_that_are_alike_are_not_paired(self):
        assert pairs(self.talk(0.1)) == ([], {"nothing_before": 1, "speaker_unsure": 1})

    def test_turns_of_clearly_different_voices_are(self):
        assert pairs(self.talk(0.3))[0] == [(0, 1)]

    def test_speakers_without_a_measured_voice_are(self):
        assert pairs(self.talk(None))[0] == [(0, 1)]

    def test_speakers_on_different_channels_are(self):
        assert pairs(self.talk(0.1, track=1))[0] == [(0, 1)]

    def test_the_margin_can_be_set(self):
        assert pairs(self.talk(0.1), config=PairTurnsConfig(speaker_margin_min=None))[0] == [(0, 1)]


def test_fragments_that_were_set_aside_do_not_separate_turns():
    turns = talk(("A", 0, 3), ("A", 3, 3.4), ("B", 3.5, 6))
    assert pairs(turns, kept={0, 2}) == ([(0, 2)], {"nothing_before": 1, "fragment": 1})


def test_longer_turns_that_were_set_aside_do():
    turns = talk(("A", 0, 3), ("A", 3, 3.6), ("B", 3.7, 6))
    assert pairs(turns, kept={0, 2})[0] == []


def test_turns_separated_by_a_long_silence_are_not_paired():
    assert pairs(talk(("A", 0, 3), ("B", 6.5, 9))) == ([], {"nothing_before": 1, "long_gap": 1})
    assert pairs(talk(("A", 0, 3), ("B", 6, 9)))[0] == [(0, 1)]


class TestBackchannels:
    @pytest.mark.parametrize(
        "text",
        [
            "Yeah.",
            "Mm-hmm.",
            "Right, right.",
            "Okay",
            "Uh-huh, yeah.",
            "I see.",
            "嗯。",
            "对对对",
            "嗯，好的。",
            "はい。",
            "ага",
            "D'accord.",
        ],
    )
    def test_they_are_neither_answers_nor_questions(self, text):
        turns = talk(("A", 0, 3), ("B", 3.2, 4.4, text), ("A", 4.6, 8))
        assert pairs(turns) == ([], {"nothing_before": 1, "backchannel": 1, "same_speaker": 1})

    @pytest.mark.parametrize(
        "text", ["Yeah, in London.", "No.", "Right here on the left", "对，我在北京", "Seven"]
    )
    def test_short_answers_are_not_backchannels(self, text):
        assert pairs(talk(("A", 0, 3), ("B", 3.2, 4.4, text)))[0] == [(0, 1)]

    def test_they_do_not_separate_a_question_from_its_answer(self):
        turns = talk(("A", 0, 3), ("C", 3.1, 3.8, "Hm."), ("B", 4, 8))
        assert pairs(turns) == ([(0, 2)], {"nothing_before": 1, "backchannel": 1})

    def test_they_are_skipped_even_if_set_aside_or_overlapping_on_another_track(self):
        turns = talk(
            ("A", 0, 3), ("B", 1, 1.5, "Mhm", {"track": 1}), ("B", 3.4, 8, "So we left", {"track": 1})
        )
        assert pairs(turns, kept={0, 2}) == ([(0, 2)], {"nothing_before": 1, "backchannel": 1})

    def test_long_or_wordy_backchannels_count_as_turns(self):
        assert pairs(talk(("A", 0, 3), ("B", 3.2, 5.6, "Yeah.")))[0] == [(0, 1)]
        wordy = talk(("A", 0, 3), ("B", 3.2, 5.1, "Yeah, okay, right, sure, exactly, true."))
        assert pairs(wordy)[0] == [(0, 1)]

    def test_the_word_lists_are_configurable(self):
        turns = talk(("A", 0, 3), ("B", 3.2, 4.6, "Yeah."))
        assert pairs(turns, config=PairTurnsConfig(backchannels={}))[0] == [(0, 1)]
        assert pairs(turns, config=PairTurnsConfig(backchannels={"en": ("yes",)}))[0] == [(0, 1)]

    def test_long_repetitions_do_not_cause_slow_matching(self):
        assert pairs(talk(("A", 0, 3), ("B", 3.2, 5.0, "m" * 400 + "?!x")))[0] == [(0, 1)]


class TestOverlap:
    def test_a_barge_in_is_not_an_answer(self):
        assert pairs(talk(("A", 0, 3), ("B", 2.5, 6))) == ([], {"nothing_before": 1, "barge_in": 1})

    def test_a_barge_in_on_another_track_is_not_an_answer(self):
        turns = talk(("A", 0, 3), ("B", 2.5, 6, "I know that", {"track": 1}))
        assert pairs(turns) == ([], {"nothing_before": 1, "barge_in": 1})

    def test_turns_may_overlap_within_the_tolerance(self):
        (pair,) = pair_turns(talk(("A", 0, 3), ("B", 2.85, 6)), {0, 1}, DEFAULT).pairs
        assert pair.gap == pytest.approx(-0.15)

    def test_a_turn_within_another_turn_is_not_an_answer(self):
        assert pairs(talk(("A", 0, 9), ("B", 4, 6))) == ([], {"nothing_before": 1, "overlap": 1})

    def test_a_third_speaker_overlapping_question_or_answer_breaks_the_pair(self):
        turns = talk(("A", 0, 3), ("B", 3.2, 9), ("C", 5, 7))
        assert pairs(turns) == ([], {"nothing_before": 1, "overlap": 2})

    def test_an_overlapping_turn_that_was_set_aside_breaks_the_pair(self):
        turns = talk(("C", 0, 2.9), ("A", 1, 4), ("B", 4.2, 9))
        assert pairs(turns, kept={1, 2}) == ([], {"set_aside": 1, "after_set_aside": 1, "overlap": 1})


def test_a_turn_set_aside_between_question_and_answer_breaks_the_pair():
    turns = talk(("A", 0, 3), ("C", 3.1, 3.9, "(unclear)"), ("B", 4, 8))
    assert pairs(turns, kept={0, 2}) == ([], {"nothing_before": 1, "set_aside": 1, "after_set_aside": 1})


def test_a_turn_without_words_is_not_a_backchannel():
    problem = Problem("no_words", "nothing was recognised", 1)
    silent = {"transcript": False, "problem": problem}
    turns = talk(("A", 0, 3), ("C", 3.1, 3.9, "", silent), ("B", 4, 8))
    assert pairs(turns, kept={0, 2})[0] == []


def test_questions_and_answers_have_length_limits():
    assert pairs(talk(("A", 0, 0.5), ("B", 1, 4)))[1]["question_length"] == 1
    assert pairs(talk(("A", 0, 40), ("B", 41, 44)))[1]["question_length"] == 1
    assert pairs(talk(("A", 0, 3), ("B", 4, 4.5)))[1]["answer_length"] == 1
    assert pairs(talk(("A", 0, 3), ("B", 4, 70)))[1]["answer_length"] == 1


def test_no_turns_make_no_pairs():
    assert pair_turns([], set(), DEFAULT) == Conversation((), {})


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ABC"),
            st.floats(0, 30),
            st.floats(0.1, 12),
            st.sampled_from(["Mm-hmm.", "It was late", "嗯"]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_pairs_are_kept_turns_of_two_speakers_without_overlap_and_every_turn_is_counted(spoken):
    spoken.sort(key=lambda turn: turn[1])
    turns = talk(*((speaker, start, start + length, text) for speaker, start, length, text, _ in spoken))
    kept = {turn.index for turn, (*_, keep) in zip(turns, spoken, strict=True) if keep}
    pairs(turns, kept)
    for pair in pair_turns(turns, kept, DEFAULT).pairs:
        question, answer = pair.question.turn, pair.answer.turn
        assert {pair.question.index, pair.answer.index} <= kept
        assert question.speaker != answer.speaker
        assert -DEFAULT.overlap_seconds_max - 1e-9 <= pair.gap <= DEFAULT.gap_seconds_max
        for turn in (pair.question, pair.answer):
            assert (
                turn.transcript.text == "It was late" or turn.turn.seconds > DEFAULT.backchannel_seconds_max
            )


class TestHistory:
    TALK = (
        *(("A", 0, 2), ("B", 2.2, 5), ("A", 5.2, 8), ("B", 8.2, 9, "Mm-hmm."), ("B", 9.2, 12)),
        *(("A", 12.2, 15), ("B", 15.2, 18)),
    )

    def histories(self, turns, kept=None, **config):
        kept = {turn.index for turn in turns} if kept is None else kept
        found = pair_turns(turns, kept, PairTurnsConfig(**config))
        return {(p.question.index, p.answer.index): [turn.index for turn in p.history] for p in found.pairs}

    def all_histories(self, *spoken, kept=None, **config):
        """All histories of each pair over many recordings, since their length depends on the turn's key."""
        histories = {}
        for n in range(60):
            turns = [replace(turn, recording=f"{n}.wav") for turn in talk(*spoken)]
            for pair, history in self.histories(turns, kept, **config).items():
                histories.setdefault(pair, set()).add(tuple(history))
        return histories

    def test_it_starts_with_a_turn_of_the_asker_and_skips_backchannels(self):
        histories = self.all_histories(*self.TALK)
        assert histories[0, 1] == {()}
        assert histories[1, 2] == {()}
        assert histories[2, 4] == {(), (0, 1)}
        assert histories[5, 6] == {(), (2, 4), (0, 1, 2, 4)}

    def test_its_length_is_deterministic(self):
        turns = talk(*self.TALK)
        assert self.histories(turns) == self.histories(turns)

    def test_the_recipe_limits_its_turns(self):
        assert self.all_histories(*self.TALK, history_turns_max=2)[5, 6] == {(), (2, 4)}
        assert self.all_histories(*self.TALK, history_turns_max=0)[5, 6] == {()}

    def test_it_stops_at_a_turn_that_was_set_aside_or_a_third_speaker(self):
        assert self.all_histories(*self.TALK, kept={0, 2, 3, 4, 5, 6})[5, 6] == {(), (2, 4)}
        third = [("C", *rest) if n == 1 else (speaker, *rest) for n, (speaker, *rest) in enumerate(self.TALK)]
        assert self.all_histories(*third)[5, 6] == {(), (2, 4)}

    def test_it_stops_at_a_long_silence(self):
        with_gap = [
            (speaker, start + 10 * (start > 5), end + 10 * (start > 5), *text)
            for speaker, start, end, *text in self.TALK
        ]
        assert self.all_histories(*with_gap)[5, 6] == {(), (2, 4)}

    def test_a_question_that_began_in_an_earlier_turn_has_none(self):
        spoken = [("A", 0, 2), ("B", 2.2, 5), ("A", 5.2, 8), ("A", 9, 12), ("B", 12.2, 15)]
        assert self.all_histories(*spoken)[3, 4] == {()}
