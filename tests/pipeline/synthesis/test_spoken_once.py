"""Utterances are spoken once, and nothing depends on whether they were kept."""

import numpy as np
import pytest

from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.synthesis.spoken_once import SpokenOnce
from schemas.errors import DataError
from stages.synthesize.audio import LEVELS, SynthesizedAudio
from stages.synthesize.styles import UNCHANGED, StyleConfig


class Speaker:
    """Speaks noise of 16 bits that a text and a pace determine, and counts."""

    def __init__(self):
        self.asked = []

    def speak(self, texts, voice, style=UNCHANGED):
        self.asked += [(text, voice, style.pace) for text in texts]
        return [self._spoken(text, style) for text in texts]

    def _spoken(self, text, style):
        if text == "?":
            return DataError("not_spoken", "no")
        generator = np.random.default_rng(len(text))
        levels = generator.integers(-LEVELS, LEVELS, round(2000 / style.pace))
        return SynthesizedAudio((levels / LEVELS).astype(np.float32), 22_050)


@pytest.fixture
def speaker():
    return Speaker()


def once(speaker, folder, hash="a", speed=1.0):
    return SpokenOnce(speaker, Store(str(folder)), speed, {"joe": hash})


def test_an_utterance_is_spoken_once_and_reads_back_as_it_was_spoken(speaker, tmp_path):
    texts = ["It's four.", "It's Thursday.", "It's four."]
    first = once(speaker, tmp_path).speak(texts, "joe")
    again = once(speaker, tmp_path).speak(texts, "joe")
    assert speaker.asked == [("It's four.", "joe", 1.0), ("It's Thursday.", "joe", 1.0)]
    for text, a, b in zip(texts, first, again, strict=True):
        assert np.array_equal(a.samples, speaker._spoken(text, UNCHANGED).samples)
        assert np.array_equal(a.samples, b.samples)
        assert a.rate == b.rate == 22_050


def test_styles_of_one_pace_share_what_was_spoken(speaker, tmp_path):
    loud, high = StyleConfig(gain_db=6), StyleConfig(speed=2 ** (2 / 12), semitones=2)
    plain, louder, higher = (
        once(speaker, tmp_path).speak(["Hello."], "joe", style)[0] for style in (UNCHANGED, loud, high)
    )
    assert len(speaker.asked) == 1
    assert np.mean(louder.samples**2) > np.mean(plain.samples**2)
    assert len(higher.samples) == pytest.approx(len(plain.samples) * 2 ** (-2 / 12), abs=2)
    once(speaker, tmp_path).speak(["Hello."], "joe", StyleConfig(speed=0.5))
    assert speaker.asked[1:] == [("Hello.", "joe", 0.5)]


@pytest.mark.parametrize("other", [{"hash": "b"}, {"speed": 1.1}])
def test_another_voice_or_speed_speaks_anew(speaker, tmp_path, other):
    once(speaker, tmp_path).speak(["Hello."], "joe")
    once(speaker, tmp_path, **other).speak(["Hello."], "joe")
    assert len(speaker.asked) == 2


def test_what_cannot_be_spoken_is_not_kept(speaker, tmp_path):
    result = once(speaker, tmp_path).speak(["?", "Hello."], "joe")
    assert isinstance(result[0], DataError)
    assert isinstance(result[1], SynthesizedAudio)
    assert len(list(Store(str(tmp_path)).list(layout.UTTERANCES))) == 1
    assert "utterances" in layout.CACHES
