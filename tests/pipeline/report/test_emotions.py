"""The share of claimed emotions that are heard."""

from pipeline.report.emotions import ClaimedEmotion, claimed_emotions


def test_turns_are_counted_by_the_emotion_that_they_claim():
    turns = {"happy/refused": 3, "happy/confirmed": 1, "sad/confirmed": 2, "calm/sure/refused": 1}
    assert claimed_emotions(turns) == [
        ClaimedEmotion("calm/sure", 1, 0),
        ClaimedEmotion("happy", 4, 1),
        ClaimedEmotion("sad", 2, 2),
    ]
    assert claimed_emotions({}) == []
