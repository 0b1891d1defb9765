"""Recognisers besides faster-whisper: models of transformers, and servers on a real socket."""

import json
import re
from email.parser import BytesParser

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from pipeline.storage.store import Store
from schemas.errors import SetupError
from schemas.recording import Diarization, DiarizeColumn, Recording, Turn, Unit, Word
from stages.replies import Replies
from stages.transcribe import TranscribeConfig, TranscribeStage
from stages.transcribe.alignment import joined, spread, timed
from stages.word_errors import errors
from tests.paths import DEMO
from tests.served import Answer, serving
from tests.stages.transcribe.tiny_models import MAKERS, make, punctuation
from tests.stages.transcribe.whisper_weights import convert

TINY = "package:whisper-tiny-en"
SHOP, GUT = "1688-142285-0003.flac", "1998-15444-0004.flac"
SHOP_TEXT = "I really liked that account of himself better than anything else he said."
GUT_TEXT = (
    "The gut and the gullet being cut across between these ligatures, the stomach may be removed entire "
    "without spilling its contents."
)


def speech(name):
    return soundfile.read(DEMO / "monologues" / name, dtype="float32")[0]


@pytest.fixture
def recording(tmp_path):
    """Two readers, half a second apart, in a turn each."""
    parts, turns, at = [], [], 0.0
    for name in (SHOP, GUT):
        parts += [speech(name), np.zeros(8_000, np.float32)]
        turns.append(Turn(at, at + len(parts[-2]) / 16_000, name, 0, False))
        at = turns[-1].end + 0.5
    path = tmp_path / "two.wav"
    soundfile.write(path, np.concatenate(parts), 16_000)
    diarized = DiarizeColumn(Diarization("model", (), (), tuple(turns)))
    return Recording(path.name, str(path), path.stat().st_size, "1", "{}", diarize=diarized)


@pytest.fixture
def transcribe(audio_source: SpooledAudio, tmp_path):
    def run(recording, config):
        models = {reference: resolve(reference).path for reference in config.models}
        replies = Store(str(tmp_path / "dataset"))
        stage = TranscribeStage(config, audio_source, models, 1, lambda name: Replies(replies, name))
        stage.setup()
        return stage(Unit("u", (recording,))).recordings[0].transcribe

    return run


def check_times(recording, column):
    """Every turn has its own words, in order and inside of it, which make up its text."""
    for turn, transcript in zip(recording.turns, column.turns, strict=True):
        assert "".join(word.text for word in transcript.words).strip() == transcript.text
        times = [time for word in transcript.words for time in (word.start, word.end)]
        assert all(turn.start <= time <= turn.end for time in times)
        starts = [word.start for word in transcript.words]
        assert starts == sorted(starts)


# --- transformers


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_of_model_fills_the_column(kind, recording, transcribe, tmp_path, tokenizer_file):
    folder = make(kind, tmp_path / kind, tokenizer_file)
    config = TranscribeConfig(
        engine="transformers", model=f"file:{folder}", language="en", beam=2, aligner=TINY
    )
    column = transcribe(recording, config)
    assert [problem for problem in column.problems if problem.code != "no_words"] == []
    heard = [transcript for transcript in column.turns if transcript]
    assert len(heard) + len(column.problems) == 2
    for transcript in heard:
        assert transcript.text
        assert transcript.source == "model"
        assert transcript.no_speech_probability is None
    if kind != "parakeet_tdt":  # transducers don't return their scores
        assert all(transcript.average_log_probability < 0 for transcript in heard)
    assert column == transcribe(recording, config)


@pytest.mark.parametrize("kind", ["wav2vec2", "parakeet_ctc", "parakeet_tdt"])
def test_text_and_times_are_those_of_the_librarys_pipeline(kind, tmp_path, tokenizer_file):
    from transformers import pipeline

    from stages.transcribe.transformers_engine import TransformersEngine

    folder = make(kind, tmp_path / kind, tokenizer_file)
    [ours] = TransformersEngine(folder, "cpu", "float32", 1, 1).transcribe([speech(SHOP)], "en")
    recognise = pipeline("automatic-speech-recognition", model=str(folder), device="cpu")
    theirs = re.sub(r"<[^>]*>", "", recognise(speech(SHOP))["text"])  # it keeps special tokens
    assert ours.text.split() == theirs.split()
    assert len(ours.text.split()) >= 2
    if kind == "wav2vec2":
        chunks = recognise(speech(SHOP), return_timestamps="word")["chunks"]
        starts = [word.start for word in ours.words]
        assert starts == pytest.approx([chunk["timestamp"][0] for chunk in chunks], abs=0.05)


def test_a_turn_does_not_change_with_the_turns_beside_it(tmp_path, tokenizer_file):
    from stages.transcribe.transformers_engine import TransformersEngine

    engine = TransformersEngine(
        make("parakeet_ctc", tmp_path / "model", tokenizer_file), "cpu", "float32", 1, 1
    )
    [alone] = engine.transcribe([speech(SHOP)], "en")
    together = engine.transcribe([speech(SHOP), speech(GUT)], "en")
    assert together[0].text == alone.text


@pytest.mark.slow
def test_a_real_model_hears_the_words_and_knows_how_sure_it_is(
    recording, transcribe, tmp_path, tokenizer_file
):
    whisper = resolve("package:whisper-base").path
    folder = convert(whisper, tmp_path / "model", tokenizer_file)
    config = TranscribeConfig(engine="transformers", model=f"file:{folder}")
    column = transcribe(recording, config)
    assert [transcript.language for transcript in column.turns] == ["en", "en"]
    found = [errors("en", text, t.text) for text, t in zip((SHOP_TEXT, GUT_TEXT), column.turns, strict=True)]
    assert sum(count.wrong for count in found) <= 3
    assert all(-0.4 < transcript.average_log_probability < -0.05 for transcript in column.turns)
    check_times(recording, column)


def test_a_folder_without_a_speech_model_is_a_setup_error(recording, transcribe, tmp_path):
    (tmp_path / "empty").mkdir()
    config = TranscribeConfig(engine="transformers", model=f"file:{tmp_path / 'empty'}", language="en")
    with pytest.raises(SetupError, match="can't load"):
        transcribe(recording, config)
    (tmp_path / "empty" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(SetupError, match="doesn't turn speech into text"):
        transcribe(recording, config)


def test_the_text_without_restored_punctuation_is_kept(recording, transcribe, tmp_path, tokenizer_file):
    folder = make("wav2vec2", tmp_path / "model", tokenizer_file)
    config = TranscribeConfig(engine="transformers", model=f"file:{folder}", language="en", aligner=TINY)
    [plain, *_] = transcribe(recording, config).turns
    last = plain.text.split()[-1]
    marks = punctuation(tmp_path / "marks", last, "nothing", ("0", ".", ","))
    [marked, *_] = transcribe(recording, config.model_copy(update={"punctuation": f"file:{marks}"})).turns
    assert marked.text == plain.text[0].upper() + plain.text[1:] + "."
    assert marked.recognised_text == plain.text
    assert "".join(word.text for word in marked.words).strip() == marked.text
    assert plain.recognised_text is None


# --- servers


def server_config(url, **settings):
    server = {"url": url, "model": "large", "backoff": 0, "retries": 1, **settings}
    return TranscribeConfig(engine="endpoint", server=server, language="en", aligner=TINY)


def form(request):
    """Name -> value of the fields of a form."""
    head = f"Content-Type: {request['headers']['Content-Type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + request["body"])
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in message.get_payload()
    }


def answer_to(request, **fields):
    """The text of the turn that a request has, told by its length."""
    text = SHOP_TEXT if len(request["body"]) < 190_000 else GUT_TEXT
    return Answer(body=json.dumps({"text": text, **fields}).encode())


def test_a_server_is_sent_each_turn_and_its_text_gets_times_from_the_aligner(recording, transcribe):
    with serving(answer_to) as server:
        column = transcribe(recording, server_config(server.url))
    assert [transcript.text for transcript in column.turns] == [SHOP_TEXT, GUT_TEXT]
    check_times(recording, column)
    spoken = [word.text.strip() for word in column.turns[0].words]
    assert spoken == SHOP_TEXT.split()
    by_name = {word.text.strip(" ,."): word for word in column.turns[0].words}
    assert by_name["account"].end < by_name["himself"].start < by_name["said"].start
    assert column.turns[0].words[-1].end > recording.turns[0].end - 1.5
    assert column.turns[0].average_log_probability is None
    fields = form(server.seen[0])
    assert fields["model"] == b"large"
    assert fields["language"] == b"en"
    assert fields["response_format"] == b"verbose_json"
    assert fields["file"][:4] == b"RIFF"
    assert server.seen[0]["path"] == "/v1/audio/transcriptions"


def test_word_times_and_probabilities_of_a_server_are_used(recording, transcribe):
    words = [
        {"word": w, "start": 0.1 * n, "end": 0.1 * n + 0.1} for n, w in enumerate(["I", "really", "liked"])
    ]
    segments = [{"text": "I really, liked.", "avg_logprob": -0.25, "no_speech_prob": 0.125}]
    reply = {"text": "I really, liked.", "words": words, "segments": segments}
    with serving([Answer(body=json.dumps(reply).encode())]) as server:
        column = transcribe(recording, server_config(server.url))
    transcript = column.turns[0]
    assert transcript.words == (
        Word(0.0, 0.1, "I", 1.0),
        Word(0.1, 0.2, " really,", 1.0),
        Word(0.2, pytest.approx(0.3), " liked.", 1.0),
    )
    assert (transcript.average_log_probability, transcript.no_speech_probability) == (-0.25, 0.125)


def test_numbers_are_written_in_digits_and_what_was_recognised_is_kept(recording, transcribe):
    pytest.importorskip("wetext")
    words = [
        {"word": word, "start": 0.1 * n, "end": 0.1 * n + 0.1} for n, word in enumerate("我花了二十三块钱")
    ]
    reply = {"text": "我花了二十三块钱", "words": words}
    with serving(lambda _: Answer(body=json.dumps(reply).encode())) as server:
        config = server_config(server.url).model_copy(update={"language": "zh"})
        [spoken, _] = transcribe(recording, config).turns
        second = config.model_copy(update={"second": config, "inverse_normalisation": "package:wetext"})
        [written, _] = transcribe(recording, second).turns
    assert (written.text, written.recognised_text) == ("我花了23块钱", spoken.text)
    assert [word.text for word in written.words] == ["我", "花", "了", "23块", "钱"]
    assert (written.words[3].start, written.words[3].end) == (spoken.words[3].start, spoken.words[6].end)
    assert written.characters_per_second == spoken.characters_per_second
    assert written.disagreement == 0
    assert spoken.recognised_text is None


def test_a_turn_that_a_server_refuses_is_set_aside_alone(recording, transcribe):
    refuse = Answer(status=400, body=b'{"error": {"message": "too long"}}')
    with serving(lambda request: refuse if len(request["body"]) > 190_000 else answer_to(request)) as server:
        column = transcribe(recording, server_config(server.url))
    assert column.turns[0].text == SHOP_TEXT
    assert column.turns[1] is None
    [problem] = column.problems
    assert (problem.code, problem.turn) == ("refused", 1)
    assert "too long" in problem.message


def test_a_failing_server_is_asked_again_and_paid_replies_are_kept(recording, transcribe):
    with serving([Answer(status=503), Answer(body=json.dumps({"text": SHOP_TEXT}).encode())]) as server:
        config = server_config(server.url, parallel=1)
        column = transcribe(recording, config)
        assert len(server.seen) == 3
        assert transcribe(recording, config) == column
        assert len(server.seen) == 3
    assert column.problems == ()


def test_a_budget_of_seconds_ends_the_requests(recording, transcribe):
    with serving(answer_to) as server:
        column = transcribe(recording, server_config(server.url, budget={"seconds": 6}, parallel=1))
    assert len(server.seen) == 1
    assert [(problem.code, problem.turn) for problem in column.problems] == [("budget", 1)]


def test_the_key_is_sent_and_never_kept(recording, transcribe, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("EAR_KEY", "secret-of-mine")
    echo = Answer(status=400, body=b"what is secret-of-mine?")
    with serving([echo]) as server:
        config = server_config(server.url, key_variable="EAR_KEY")
        column = transcribe(recording, config)
    assert server.seen[0]["headers"]["Authorization"] == "Bearer secret-of-mine"
    kept = repr(column) + repr(config.content()) + caplog.text
    kept += "".join(file.read_text("latin-1") for file in (tmp_path / "dataset").rglob("*") if file.is_file())
    assert "secret" not in kept


def test_the_connection_is_not_part_of_the_fingerprint():
    one, other = (
        server_config(f"http://{host}/v1", timeout=timeout, key_variable=key).content()
        for host, timeout, key in (("a", 1, "A"), ("b", 2, "B"))
    )
    assert one == other
    assert one != server_config("http://a/v1", model="small").content()


@pytest.mark.parametrize(
    "settings",
    [
        {"engine": "endpoint"},
        {"server": {"url": "http://a/v1", "model": "m"}},
        {"engine": "transformers", "compute_type": "int8"},
    ],
)
def test_settings_that_do_not_fit_the_engine_are_refused(settings):
    with pytest.raises(ValidationError, match="`engine"):
        TranscribeConfig.model_validate(settings)


# --- a second recogniser


def test_a_second_recogniser_is_compared_with_the_first(recording, transcribe):
    config = TranscribeConfig(language="en", second={"model": TINY})
    column, alone = transcribe(recording, config), transcribe(recording, TranscribeConfig(language="en"))
    [second] = [transcribe(recording, TranscribeConfig(model=TINY, language="en"))]
    for compared, first, other in zip(column.turns, alone.turns, second.turns, strict=True):
        assert compared.text == first.text
        assert compared.second_text == other.text
        found = errors("en", first.text, other.text)
        assert compared.disagreement == found.wrong / found.of
        assert (first.second_text, first.disagreement) == (None, None)


def test_the_second_recogniser_is_not_asked_about_languages_that_it_lacks(recording, transcribe):
    column = transcribe(recording, TranscribeConfig(language="de", second={"model": TINY}))
    assert all(transcript.disagreement is None for transcript in column.turns if transcript)


def test_a_second_recogniser_that_fails_leaves_the_first_its_text(recording, transcribe):
    with serving([Answer(status=503)]) as server:
        second = {"engine": "endpoint", "server": {"url": server.url, "model": "m", "retries": 0}}
        column = transcribe(recording, TranscribeConfig(model=TINY, second=second))
    assert column.problems == ()
    assert all(transcript.text and transcript.disagreement is None for transcript in column.turns)


def test_text_that_the_second_recogniser_does_not_hear_is_wholly_in_doubt(recording, transcribe):
    with serving([Answer(body=b'{"text": ""}')]) as server:
        second = {"engine": "endpoint", "server": {"url": server.url, "model": "m"}}
        column = transcribe(recording, TranscribeConfig(model=TINY, second=second))
    assert {(transcript.second_text, transcript.disagreement) for transcript in column.turns} == {("", 1.0)}


# --- words with times


def test_text_without_times_is_spread_over_its_window():
    words = spread("good  day 你好。", 6.0)
    assert [word.text for word in words] == ["good", "  day", " 你", "好。"]
    assert words[0].start == 0
    assert words[-1].end == 6.0
    assert [word.start for word in words[1:]] == [word.end for word in words[:-1]]


def test_pieces_are_joined_into_words():
    pieces = [("go", 0, 1, 0.5), ("od", 1, 2, 1.0), (" ", 2, 3, 1.0), ("day", 3, 4, 1.0), ("你", 5, 6, 1.0)]
    assert joined(pieces) == (
        Word(0, 2, "good", 0.75),
        Word(3, 4, " day", 1.0),
        Word(5, 6, "你", 1.0),
    )


@pytest.mark.parametrize(
    ("text", "times", "expected"),
    [
        ("Good day, you.", ["good", "day", "you"], ["Good", " day,", " you."]),
        ("“Good” day", ["Good", "day"], ["“Good”", " day"]),
        ("你好", ["你", "好"], ["你", "好"]),
        ("Good day", ["good", "night"], None),
        ("", [], None),
    ],
)
def test_the_words_of_a_reply_get_the_punctuation_of_its_text(text, times, expected):
    found = timed(text, [(word, float(n), n + 1.0) for n, word in enumerate(times)])
    assert (found and [word.text for word in found]) == expected
