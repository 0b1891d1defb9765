"""Speech from piper and from servers, speaking styles, and the checks of synthesised turns."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models import resolve
from pipeline.storage.store import Store
from schemas.errors import DataError, SetupError
from stages.budget import Budget
from stages.endpoint import Endpoint
from stages.replies import Replies
from stages.synthesize.audio import SynthesizedAudio, apply_style, read_audio
from stages.synthesize.checks import CheckConfig, as_written, check, error_rate, letters
from stages.synthesize.config import SynthesizeConfig
from stages.synthesize.kokoro import HUMAN_VOICES
from stages.synthesize.speech import (
    ByVoice,
    Piper,
    SpeechConfig,
    SpeechServer,
    SpeechServerConfig,
    speakable,
)
from stages.synthesize.styles import STYLES, UNCHANGED, StyleConfig, draw_styles, labels_of, split
from tests.paths import DEMO
from tests.served import Answer, serving
from tests.stages.annotated import a_turn

JOE = "package:piper-joe"
WAV = DEMO / "monologues" / "LJ002-0020.wav"


@pytest.fixture(scope="module")
def piper():
    return Piper({JOE: resolve(JOE).path})


def test_piper_is_deterministic_whatever_the_other_texts(piper):
    alone = piper.speak(["Good morning to you."], JOE)[0]
    second = piper.speak(["How are you?", "Good morning to you."], JOE)[1]
    assert alone.rate == 22_050
    assert 0.8 < len(alone.samples) / alone.rate < 2.5
    assert np.abs(alone.samples).max() > 0.1
    assert np.array_equal(alone.samples, second.samples)


def test_a_line_that_piper_cannot_speak_does_not_affect_others(piper):
    first, second, third = piper.speak(["Good morning.", "...", "Good night."], JOE)
    assert isinstance(second, DataError)
    assert second.code == "not_spoken"
    assert len(first.samples) > 5000
    assert len(third.samples) > 5000


def test_speed_shortens_speech(piper):
    fast = Piper({JOE: resolve(JOE).path}, speed=2.0)
    text = ["We are going to the market on Saturday."]
    assert len(fast.speak(text, JOE)[0].samples) < 0.7 * len(piper.speak(text, JOE)[0].samples)


def test_a_style_changes_length_and_loudness(piper):
    text = ["We are going to the market on Saturday."]
    plain, slow, soft = (
        piper.speak(text, JOE, style)[0]
        for style in (UNCHANGED, StyleConfig(speed=0.75), StyleConfig(gain_db=-10))
    )
    assert len(slow.samples) > 1.15 * len(plain.samples)
    assert np.allclose(soft.samples, plain.samples * 10**-0.5)


def test_louder_speech_stays_below_full_scale_and_quiet_samples_are_only_amplified():
    loud = StyleConfig(gain_db=9)
    rising = np.linspace(0, 1, 1000, dtype=np.float32)
    louder = apply_style(SynthesizedAudio(rising, 16_000), loud).samples
    assert np.allclose(louder[:20], rising[:20] * 10 ** (9 / 20), rtol=0.01)
    assert (np.diff(louder) > 0).all()
    assert rising[-1] > louder[-1] > 0.99
    assert np.sqrt(np.mean(louder**2)) > 1.3 * np.sqrt(np.mean(rising**2))


def test_a_voice_speaks_with_the_engine_that_it_belongs_to():
    class Tone:
        def __init__(self, rate):
            self.rate = rate

        def speak(self, texts, voice, style=UNCHANGED):
            return [
                SynthesizedAudio(np.full(len(text), style.speed, np.float32), self.rate) for text in texts
            ]

    both = ByVoice({"af_heart": Tone(24_000), JOE: Tone(22_050)})
    (heart,), (joe,) = both.speak(["Hi."], "af_heart"), both.speak(["Hi."], JOE, StyleConfig(speed=0.5))
    assert (heart.rate, joe.rate) == (24_000, 22_050)
    assert (heart.samples[0], joe.samples[0]) == (1, 0.5)


def test_voices_of_piper_speak_english_beside_those_of_kokoro():
    speech = SpeechConfig(engine="kokoro", human_voices=("af_heart", "zf_xiaoyi"), assistant_voices=(JOE,))
    assert speech.voices("assistant", "Hello.") == [JOE]
    assert speech.voices("human", "Hello.") == ["af_heart"]


@pytest.mark.parametrize("semitones", [-4.0, -1.5, 2.5])
def test_semitones_change_the_pitch_but_not_the_length(semitones):
    rate, style = 22_050, StyleConfig(semitones=semitones)
    seconds = 2 / style.pace  # the length of speech at that pace
    tone = np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate).astype(np.float32)
    moved = apply_style(SynthesizedAudio(tone, rate), style)
    peak = np.abs(np.fft.rfft(moved.samples)).argmax() * rate / len(moved.samples)
    assert len(moved.samples) / rate == pytest.approx(2, abs=0.01)
    assert 12 * np.log2(peak / 220) == pytest.approx(semitones, abs=0.1)


def test_a_missing_program_or_voice_is_reported(monkeypatch, tmp_path):
    with pytest.raises(SetupError, match=r"exactly one \.onnx"):
        Piper({"file:/x": tmp_path})
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "broken.onnx.json").write_text("{}")
    with pytest.raises(SetupError, match="can't use the voice x"):
        Piper({"x": tmp_path}).speak(["Hello."], "x")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="pip install piper-tts"):
        Piper({})


def test_text_without_words_is_rejected():
    assert speakable(" One\ntwo\t three. ") == "One two three."
    with pytest.raises(DataError, match="nothing to say"):
        speakable("?! 🙂")


def server_of(url, folder, **settings):
    config = SpeechConfig(
        server=SpeechServerConfig(url=url, model="tts", backoff=0.01, retries=1, **settings)
    )
    return SpeechServer(config, Endpoint(config.server, Replies(Store(str(folder)), "replies")))


def test_equal_texts_are_sent_to_the_server_once(tmp_path):
    with serving([Answer(body=WAV.read_bytes())]) as server:
        first = server_of(server.url, tmp_path).speak(["Hello.", "Hello."], "alloy")
        again = server_of(server.url, tmp_path).speak(["Hello."], "alloy")
    assert server.seen[0]["path"] == "/v1/audio/speech"
    assert server.bodies == [{"model": "tts", "input": "Hello.", "voice": "alloy", "response_format": "wav"}]
    expected = read_audio(WAV.read_bytes())
    for utterance in (*first, *again):
        assert utterance.rate == expected.rate
        assert np.array_equal(utterance.samples, expected.samples)


def test_a_style_is_sent_to_the_server_as_speed_and_instructions(tmp_path):
    with serving([Answer(body=WAV.read_bytes())]) as server:
        speech = server_of(server.url, tmp_path)
        style = StyleConfig(speed=0.8, gain_db=-20, instructions="Speak sadly.")
        (sad,), (plain,) = (speech.speak(["Hello."], "alloy", how) for how in (style, UNCHANGED))
    first, second = server.bodies
    assert (first["speed"], first["instructions"]) == (0.8, "Speak sadly.")
    assert not {"speed", "instructions"} & second.keys()
    assert np.allclose(sad.samples, plain.samples / 10)


def test_a_tag_stands_before_the_text_and_instructions_in_the_field_that_the_server_reads(tmp_path):
    with serving([Answer(body=WAV.read_bytes())]) as server:
        speech = server_of(server.url, tmp_path, instructions_field="instruct_text", tags=("(四川话)",))
        speech.speak(["你好。"], "alloy", StyleConfig(tag="(四川话)", instructions="Speak happily."))
    (body,) = server.bodies
    assert (body["input"], body["instruct_text"]) == ("(四川话)你好。", "Speak happily.")
    assert "instructions" not in body


def test_each_take_is_asked_for_once_and_has_an_answer_of_its_own(tmp_path):
    other = DEMO / "monologues" / "1998-15444-0004.flac"
    with serving([Answer(body=WAV.read_bytes()), Answer(body=other.read_bytes())]) as server:
        config = SpeechConfig(server=SpeechServerConfig(url=server.url, model="tts"))
        endpoint = Endpoint(config.server, Replies(Store(str(tmp_path)), "replies"))
        takes = [SpeechServer(config, endpoint, take) for take in (0, 1, 0, 1)]
        spoken = [take.speak(["Hello."], "alloy")[0].samples for take in takes]
    assert len(server.bodies) == 2
    assert len(spoken[0]) != len(spoken[1])
    assert np.array_equal(spoken[0], spoken[2])
    assert np.array_equal(spoken[1], spoken[3])


def test_a_reply_without_audio_sets_only_its_text_aside(tmp_path):
    def answer(request):
        return Answer(body=b'{"oops": 1}' if request["body"]["input"] == "Bad." else WAV.read_bytes())

    with serving(answer) as server:
        good, bad = server_of(server.url, tmp_path).speak(["Good.", "Bad."], "alloy")
    assert len(good.samples) > 10_000
    assert isinstance(bad, DataError)
    assert bad.code == "bad_reply"
    assert len(server.seen) == 3


def test_a_budget_of_characters_is_not_exceeded(tmp_path):
    with serving([Answer(body=WAV.read_bytes())]) as server:
        speech = server_of(server.url, tmp_path, budget=Budget(characters=12))
        results = speech.speak(["Hello.", "World!", "No."], "alloy")
    assert [getattr(one, "code", "spoken") for one in results] == ["spoken", "spoken", "budget"]
    assert len(server.seen) == 2


# Engines and voices


def speech_of(value):
    return SynthesizeConfig(speech=value).speech


def test_the_name_of_an_engine_stands_for_its_settings():
    assert speech_of("kokoro") == speech_of({"engine": "kokoro"})
    assert speech_of("piper") == speech_of({}) == SynthesizeConfig().speech
    with pytest.raises(ValueError, match=r"speech\.engine"):
        speech_of("kokoroo")


def test_a_server_is_its_own_engine():
    server = {"url": "http://localhost:9000/v1", "model": "tts"}
    assert speech_of({"server": server}).engine == "server"
    assert speech_of({"server": server, "engine": "server"}) == speech_of({"server": server})
    for wrong in ({"engine": "server"}, {"engine": "kokoro", "server": server}):
        with pytest.raises(ValueError, match="`engine: server` needs"):
            speech_of(wrong)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"human_voices": ["af_heart"]},
        {"human_voices": ["af_heart", "zf_xiaoyi"]},
        {"assistant_voices": ["am_michael", "zm_yunxi"]},
        {"human_voices": list(HUMAN_VOICES)},
    ],
)
def test_no_voice_of_kokoro_has_both_sides_unless_both_name_it(given):
    speech = speech_of({"engine": "kokoro", **given})
    assert speech.shared_voices == ()
    assert speech.human_voices
    assert speech.assistant_voices
    for role, voices in given.items():
        assert list(getattr(speech, role)) == voices


def test_voices_that_have_both_sides_are_known():
    assert speech_of({}).shared_voices == (JOE,)
    both = {"engine": "kokoro", "human_voices": ["af_heart"], "assistant_voices": ["af_heart"]}
    assert speech_of(both).shared_voices == ("af_heart",)


def test_each_side_has_voices_of_the_language_of_a_text():
    speech = speech_of("kokoro")
    assert {voice[0] for voice in speech.voices("human", "How are you?")} == {"a", "b"}
    assert speech.voices("assistant", "我很好。") == ["zf_xiaoyi"]
    assert speech_of("piper").voices("human", "我很好。") == (JOE,)


def test_a_voice_of_kokoro_that_names_no_language_is_refused():
    with pytest.raises(ValueError, match="begin with their language"):
        speech_of({"engine": "kokoro", "human_voices": ["anna"]})


def test_chinese_voices_have_a_reference_sentence_of_their_own():
    config = SynthesizeConfig(speech="kokoro", reference="One sentence.")
    assert config.reference_of("af_heart") == "One sentence."
    assert "今天" in config.reference_of("zf_xiaoyi")


# Answers in several styles


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("It leaves at six. Be there by half past five.", "It leaves at six.", "Be there by half past five."),
        ("One is all green. Two are blue, and the rest is kind of red.", "One is all green.", None),
        ("If it rains again tonight, we will stay at home", "If it rains again tonight,", None),
        (
            "下午三点有一班火车，七点还有一班。你想坐哪一班？",
            "下午三点有一班火车，七点还有一班。",
            None,
        ),
        ('He said "not again." Then he left the room.', 'He said "not again."', "Then he left the room."),
    ],
)
def test_an_answer_is_split_after_a_sentence_or_clause(text, first, second):
    assert split(text, 2) == (first, second or text.removeprefix(first).strip())


@pytest.mark.parametrize(
    "text",
    ["", "Yes. It does.", "No, because I said so and that is that", "It costs 3.50 euros"],
)
def test_an_answer_without_a_suitable_boundary_is_not_split(text):
    assert split(text, 2) is None


@given(st.text(st.sampled_from('abc .,!?。，、0"’'), max_size=120) | st.text(max_size=60), st.integers(2, 5))
def test_the_spans_contain_the_whole_text_in_order(text, number):
    spans = split(text, number)
    if spans is not None:
        assert len(spans) == number
        assert "".join("".join(spans).split()) == "".join(text.split())
        assert all(letters(span) >= letters(text) / (2 * number) for span in spans)


def test_an_answer_is_split_into_as_many_spans_as_are_asked_for():
    text = "It leaves at six. Be there by half past five, and bring warm clothes. It is cold up there."
    assert split(text, 3) == (
        "It leaves at six.",
        "Be there by half past five, and bring warm clothes.",
        "It is cold up there.",
    )
    assert split(text, 4) == (
        "It leaves at six.",
        "Be there by half past five,",
        "and bring warm clothes.",
        "It is cold up there.",
    )
    assert split(text, 5) is None


@pytest.mark.parametrize("number", [2, 3, 5])
def test_neighbouring_styles_of_an_answer_differ_and_all_orders_are_drawn(number):
    drawn = {draw_styles(f"{n}", STYLES, number) for n in range(4000)}
    assert all(len(styles) == number for styles in drawn)
    assert all(before != after for styles in drawn for before, after in pairwise(styles))
    assert len(drawn) == 4 * 3 ** (number - 1)
    assert draw_styles("a", STYLES, number) == draw_styles("a", dict(reversed(STYLES.items())), number)


def test_the_two_styles_of_an_answer_stay_those_of_earlier_releases():
    assert [draw_styles(f"{n}", STYLES, 2) for n in range(3)] == [
        ("fast", "slow"),
        ("fast", "soft"),
        ("soft", "plain"),
    ]


def test_a_style_has_its_label_and_default_labels_otherwise():
    assert labels_of("slow", STYLES) == {"rate": "slow", "loudness": "normal"}
    assert labels_of("plain", STYLES) == {"rate": "normal", "loudness": "normal"}
    assert labels_of("四川话", ["四川话", "happy"]) == {"emotion": "neutral", "dialect": "四川话"}
    assert labels_of("plain", ["四川话", "happy"]) == {"emotion": "neutral"}, "in which dialect isn't known"
    assert labels_of("sad", ["sad", "happy", "low"]) == {"emotion": "sad", "pitch": "normal"}
    assert labels_of("low", ["sad", "happy", "low"]) == {"emotion": "neutral", "pitch": "low"}


def test_an_emotion_without_a_server_is_a_pace_and_a_pitch():
    styles = {"sad": {"speed": 0.8, "semitones": -2}, "loud": {"gain_db": 9}}
    assert SynthesizeConfig(styles=styles).style("sad").pace > 0.8


@pytest.mark.parametrize(
    ("styles", "message"),
    [
        ({"slow": {"speed": 1.2}}, "settings of style `slow` don't match"),
        ({"sad": {"speed": 0.8}}, "settings of style `sad`"),
        ({"loud": {"gain_db": -3}}, "settings of style `loud`"),
        (
            {"sad": {"instructions": "Speak sadly."}},
            "`styles.sad`: `instructions` need a server: name one in",
        ),
        ({"sad": {"tag": "(sad)"}}, "`styles.sad`: a `tag` needs a server: name one in `speech.server`"),
        ({"normal": {"speed": 1.2}}, "not a style"),
    ],
)
def test_a_style_whose_settings_do_not_match_its_label_is_rejected(styles, message):
    with pytest.raises(ValueError, match=message):
        SynthesizeConfig(styles=styles)


SERVER = {"url": "http://localhost:9000/v1", "model": "tts"}


@pytest.mark.parametrize(
    ("server", "styles", "message"),
    [
        (
            {"tags": ["(happy)", "(四川话)"]},
            {"happy": {"tag": "(hapy)"}},
            r"`styles\.happy`: the server knows no `tag` \(hapy\): .* has \(happy\), \(四川话\); add it",
        ),
        ({}, {"rap": {"tag": "(RAP)"}}, r"`speech\.server\.tags` has none; add it"),
        (
            {"instructions_field": None},
            {"sad": {"instructions": "Speak sadly."}},
            r"name it in `speech\.server\.instructions_field`",
        ),
        ({"follows_speed": False}, {"slow": {"speed": 0.7}}, r"`speed` needs another speed, .* is false"),
        ({"follows_speed": False}, {"high": {"semitones": 2}}, "`semitones` needs another speed"),
    ],
)
def test_a_style_that_a_server_cannot_have_is_refused_with_its_key(server, styles, message):
    with pytest.raises(ValueError, match=message):
        SynthesizeConfig(speech={"server": SERVER | server}, styles=styles)


def test_a_server_that_does_not_follow_speed_has_styles_that_need_none():
    speech = {"server": SERVER | {"follows_speed": False}}
    styles = {"soft": {"gain_db": -10}, "slow": {"instructions": "Speak slowly."}}
    assert SynthesizeConfig(speech=speech, styles=styles).style("slow").pace == 1
    assert SynthesizeConfig(speech=speech).styles == STYLES  # which nothing uses
    with pytest.raises(ValueError, match=r"`styles\.slow`: `speed` needs another speed"):
        SynthesizeConfig(speech=speech, style_share=0.1)
    with pytest.raises(ValueError, match=r"`voice_changes\.speeds` need a server that follows"):
        SynthesizeConfig(speech=speech, styles=styles, voice_changes={"speeds": [0.9]})


def test_what_a_server_is_said_to_be_able_to_do_speaks_nothing_anew():
    plain = SpeechServerConfig(**SERVER).reply_settings()
    assert plain == SpeechServerConfig(**SERVER, tags=("(RAP)",), follows_speed=False).reply_settings()
    assert plain != SpeechServerConfig(**SERVER, instructions_field="instruct").reply_settings()


@pytest.mark.parametrize("engine", ["piper", "kokoro"])
def test_several_takes_of_a_voice_that_always_speaks_alike_are_refused(engine):
    with pytest.raises(ValueError, match=rf"`takes`: {engine} says a text always in the same way"):
        SynthesizeConfig(speech=engine, takes=4)
    assert SynthesizeConfig(speech={"server": SERVER}, takes=4).measures_plain


@pytest.mark.parametrize(
    ("written", "heard", "rate"),
    [
        ("Good morning, everyone!", "good morning everyone", 0),
        ("It's twenty past six.", "It’s 20 past 6.", 0),
        ("We need 1,400 of them.", "We need fourteen hundred of them", 0),
        ("Leave the umbrella here.", "Leave the red umbrella here.", 1 / 4),
        ("Leave the umbrella here.", "Leave a hat here.", 2 / 4),
        ("Leave the umbrella here.", "", 1),
        ("今天天气很好。", "今天天氣很好", 1 / 6),
        ("Hello.", "Hello. Thank you for watching this video.", 6),
    ],
)
def test_the_error_rate_ignores_spelling(written, heard, rate):
    assert error_rate(written, heard) == pytest.approx(rate)


def spoken(written, heard=None, seconds=2.0, likeness=0.9):
    from dataclasses import replace

    sidecar = {"synthetic": True, "synthesis": {"spoken": [{"likeness": likeness}]}}
    turn = a_turn(end=seconds, text=heard or written, sidecar=sidecar)
    return replace(turn, turn=replace(turn.turn, text=written))


LINE = "I have lived here all my life"


@pytest.mark.parametrize(
    ("turn", "code"),
    [
        (spoken(LINE), None),
        (spoken(LINE, "I have left the deer all my wife"), "misspoken"),
        (spoken(LINE, seconds=0.5), "too_short"),
        (spoken(LINE, seconds=10.0), "too_long"),
        (spoken(LINE, likeness=0.3), "other_voice"),
        (spoken(LINE, likeness=None), None),
        (a_turn(end=60.0), None),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_faulty_synthesised_turn_is_set_aside_with_its_reason(turn, code):
    problem = check(turn, CheckConfig())
    assert (problem.code if problem else None) == code


def test_checks_can_be_turned_off():
    bad = spoken(LINE, "Something else entirely here", seconds=20.0, likeness=0.0)
    off = CheckConfig(
        error_rate_max=None, letters_per_second_min=None, letters_per_second_max=None, likeness_min=None
    )
    assert check(bad, CheckConfig()) is not None
    assert check(bad, off) is None


def test_synthesised_turns_have_their_written_text_and_others_the_recognised_one():
    turn = as_written(spoken("It costs twenty euros.", "It costs €20."))
    assert (turn.transcript.text, turn.transcript.source) == ("It costs twenty euros.", "synthesis")
    real = a_turn(text="It costs €20.")
    assert as_written(real) == real
    assert turn.metadata["synthetic"] is True
