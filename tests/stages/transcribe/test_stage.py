"""Transcribe on real speech: correct words and times, whatever else is in the unit."""

from dataclasses import replace

import jiwer
import numpy as np
import pytest
import soundfile
import soxr
from threadpoolctl import threadpool_limits
from whisper_normalizer.english import EnglishTextNormalizer

from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from schemas.errors import SetupError
from schemas.recording import Companion, Diarization, DiarizeColumn, Problem, Recording, Turn, Unit
from stages.transcribe import TranscribeConfig, TranscribeStage
from stages.transcribe.whisper import WhisperRecogniser
from tests.paths import DEMO

MONOLOGUES = DEMO / "monologues"
SHOP, GUT, CHINESE = "1688-142285-0003.flac", "1998-15444-0004.flac", "BAC009S0764W0121.wav"
TEXTS = {
    SHOP: "i really liked that account of himself better than anything else he said",
    GUT: "the gut and the gullet being cut across between these ligatures the stomach may be removed entire "
    "without spilling its contents",
    CHINESE: "甚至出现交易几乎停滞的情况",
}
FAST = TranscribeConfig(model="package:whisper-tiny-en", existing="use")


def speech(name):
    samples, rate = soundfile.read(MONOLOGUES / name, dtype="float32")
    assert rate == 16_000
    return samples


def talk(folder, *names, source="model"):
    """A recording of some monologues in sequence, one turn each, half a second apart."""
    path = folder / f"{'-'.join(names)}.wav"
    parts, turns, at = [], [], 0.0
    for name in names:
        samples = speech(name)
        parts += [samples, np.zeros(8_000, np.float32)]
        turns.append(Turn(at, at + len(samples) / 16_000, name, 0, False))
        at = turns[-1].end + 0.5
    soundfile.write(path, np.concatenate(parts), 16_000)
    diarized = Diarization(source, (), (), tuple(turns))
    return Recording(path.name, str(path), path.stat().st_size, "1", "{}", diarize=DiarizeColumn(diarized))


def with_turns(recording, **changes):
    """The recording with its first turn changed."""
    result = recording.diarize.result
    turns = (replace(result.turns[0], **changes), *result.turns[1:])
    return replace(recording, diarize=DiarizeColumn(replace(result, turns=turns), recording.diarize.problems))


@pytest.fixture
def transcribe(audio_source: SpooledAudio):
    def run(*recordings, config=FAST, threads=1):
        models = {reference: resolve(reference).path for reference in config.models}
        stage = TranscribeStage(config, audio_source, models, threads)
        stage.setup()
        return [recording.transcribe for recording in stage(Unit("u", recordings)).recordings]

    return run


def word_error_rate(reference, hypothesis):
    normalize = EnglishTextNormalizer()
    return jiwer.wer(normalize(reference), normalize(hypothesis))


def test_turns_that_share_a_window_get_their_own_words_and_times(transcribe, tmp_path):
    recording = talk(tmp_path, SHOP, GUT)
    [column] = transcribe(recording)
    assert column.problems == ()
    for turn, transcript in zip(recording.turns, column.turns, strict=True):
        assert word_error_rate(TEXTS[turn.speaker], transcript.text) <= 0.15
        assert "".join(word.text for word in transcript.words).strip() == transcript.text
        times = [time for word in transcript.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert turn.start <= times[0] < turn.start + 1
        assert turn.end - 1 < times[-1] <= turn.end
        assert transcript.source == "model"
        assert transcript.average_log_probability > -0.5
        assert 5 < transcript.characters_per_second < 25
        assert not transcript.phantom


def test_a_turn_that_is_longer_than_the_window_is_heard_to_its_end(transcribe, tmp_path):
    samples, rate = soundfile.read(MONOLOGUES / "sonnet001_en.mp3", dtype="float32")
    path = tmp_path / "sonnet.wav"
    soundfile.write(path, soxr.resample(samples, rate, 16_000), 16_000)
    long = Turn(0.0, len(samples) / rate, "one", 0, False)
    assert long.seconds > 40
    diarized = DiarizeColumn(Diarization("rttm", (), (), (long,)))
    whole = Recording(path.name, str(path), path.stat().st_size, "1", "{}", diarize=diarized)
    [column] = transcribe(whole, config=TranscribeConfig(language="en"))
    assert column.turns[0].text.endswith("by the grave and thee.")
    times = [word.start for word in column.turns[0].words]
    assert times == sorted(times)
    assert times[-1] > long.end - 2


def test_transcripts_do_not_depend_on_other_recordings_or_threads(transcribe, tmp_path):
    recordings = [talk(tmp_path, SHOP, GUT), talk(tmp_path, GUT), talk(tmp_path, SHOP)]
    together = transcribe(*recordings, threads=2)
    assert together == [transcribe(recording)[0] for recording in recordings]


def test_transcripts_do_not_depend_on_the_cores_of_the_machine(transcribe, tmp_path):
    columns = []
    for cores in (1, 2):
        with threadpool_limits(cores, "blas"):
            columns.append(transcribe(talk(tmp_path, SHOP, GUT)))
    assert columns[0] == columns[1]


def test_turns_set_aside_are_not_transcribed_and_do_not_affect_others(transcribe, tmp_path):
    both, one = talk(tmp_path, SHOP, GUT), talk(tmp_path, SHOP)
    problem = Problem("overlapped", "two speak at once", 1)
    [column], [alone] = (
        transcribe(replace(both, diarize=DiarizeColumn(both.diarize.result, (problem,)))),
        transcribe(one),
    )
    assert column.turns[1] is None
    assert column.problems == ()
    assert column.turns[0].text == alone.turns[0].text


def test_existing_text_replaces_the_models_unless_ignored(transcribe, tmp_path):
    recording = with_turns(talk(tmp_path, SHOP, GUT, source="stm"), text="  as  it is\nwritten ")
    [used], [ignored] = (
        transcribe(recording),
        transcribe(recording, config=FAST.model_copy(update={"existing": "ignore"})),
    )
    assert (used.turns[0].text, used.turns[0].source) == ("as it is written", "stm")
    assert used.turns[1].source == ignored.turns[0].source == "model"
    assert word_error_rate(TEXTS[SHOP], ignored.turns[0].text) <= 0.15


def test_what_was_synthesized_is_heard_unless_it_is_trusted(transcribe, tmp_path):
    """Whatever is done with the texts of recordings."""
    spoken = replace(
        with_turns(talk(tmp_path, SHOP, source="synthesis"), text="as it was written"),
        sidecar='{"synthesis": {"spoken": []}}',
    )
    heard, trusted = (
        transcribe(spoken, config=FAST.model_copy(update={"existing": existing, "synthesized": synthesized}))
        for existing, synthesized in (("use", "check"), ("check", "trust"))
    )
    assert word_error_rate(TEXTS[SHOP], heard[0].turns[0].text) <= 0.15
    assert (trusted[0].turns[0].text, trusted[0].turns[0].heard_text) == ("as it was written", None)


def test_trust_alone_changes_what_determines_the_texts():
    assert "synthesized" not in FAST.content()
    assert FAST.model_copy(update={"synthesized": "trust"}).content()["synthesized"] == "trust"


def test_marks_in_existing_text_are_no_words(transcribe, tmp_path):
    recording = talk(tmp_path, SHOP, GUT, source="stm")
    first, second = (
        replace(turn, text=text)
        for turn, text in zip(
            recording.turns, ("<laughs> it is [hesitation] written", "[laughter]"), strict=True
        )
    )
    result = replace(recording.diarize.result, turns=(first, second))
    [column] = transcribe(replace(recording, diarize=DiarizeColumn(result)))
    marked = column.turns[0]
    assert marked.text == "<laughs> it is [hesitation] written"
    assert marked.longest_word == len("written")
    assert marked.characters_per_second == pytest.approx(len("itiswritten") / first.seconds)
    assert [(problem.code, problem.turn) for problem in column.problems] == [("no_words", 1)]


def test_existing_text_is_kept_and_what_is_heard_stands_beside_it_where_it_is_checked(transcribe, tmp_path):
    recording = with_turns(talk(tmp_path, SHOP, GUT, source="stm"), text="as it is written")
    [checked], [heard] = (
        transcribe(recording, config=FAST.model_copy(update={"existing": existing}))
        for existing in ("check", "ignore")
    )
    given, other = checked.turns
    assert (given.text, given.source, given.heard_text) == ("as it is written", "stm", heard.turns[0].text)
    assert (other.source, other.heard_text) == ("model", None)
    assert other.text == heard.turns[1].text


def test_a_ctm_companion_gives_words_and_times(transcribe, tmp_path):
    recording = talk(tmp_path, SHOP)
    ctm = tmp_path / "words.ctm"
    ctm.write_text("x 1 0.5 0.3 two\nx 1 1.0 0.4 words\n")
    [column] = transcribe(replace(recording, companions=(Companion("ctm", str(ctm), "1"),)))
    assert column.turns[0].text == "two words"
    assert [word.start for word in column.turns[0].words] == [0.5, 1.0]
    assert [use.code for use in column.companions] == ["used"]


def test_a_ctm_that_cannot_be_read_is_left_and_told(transcribe, tmp_path):
    recording = talk(tmp_path, SHOP)
    ctm = tmp_path / "words.ctm"
    ctm.write_text("nonsense\n")
    [column] = transcribe(replace(recording, companions=(Companion("ctm", str(ctm), "1"),)))
    assert column.turns[0].source == "model"
    [use] = column.companions
    assert (use.name, use.code) == ("words.ctm", "bad_companion")
    assert use.notes == ("words.ctm, line 1: a CTM line has at least 5 fields, this one 1",)


def test_a_bad_line_of_a_ctm_is_set_aside_alone(transcribe, tmp_path):
    recording = talk(tmp_path, SHOP, GUT)
    ctm = tmp_path / "words.ctm"
    ctm.write_text("x 1 0.5 0.3 two\nx 1 1.0 0.4 words\nx 1 500 0.1 far\nx 1 nan 1 bad\n")
    [column] = transcribe(replace(recording, companions=(Companion("ctm", str(ctm), "1"),)))
    assert column.turns[0].text == "two words"
    assert ("bad_line", 4) in [(problem.code, problem.line) for problem in column.problems]


def test_a_turn_without_words_is_set_aside_alone(transcribe, tmp_path):
    recording = with_turns(talk(tmp_path, SHOP, GUT), text="...")
    [column] = transcribe(recording)
    assert [(problem.code, problem.turn) for problem in column.problems] == [("no_words", 0)]
    assert column.turns[0] is None
    assert column.turns[1] is not None


def test_each_turn_is_transcribed_in_its_language_and_chinese_in_the_chosen_script(transcribe, tmp_path):
    recording = talk(tmp_path, GUT, CHINESE)
    [simplified] = transcribe(recording, config=TranscribeConfig())
    assert [transcript.language for transcript in simplified.turns] == ["en", "zh"]
    assert word_error_rate(TEXTS[GUT], simplified.turns[0].text) <= 0.15
    assert jiwer.cer(TEXTS[CHINESE], simplified.turns[1].text) <= 0.16
    [traditional] = transcribe(recording, config=TranscribeConfig(chinese_script="traditional"))
    assert "現" in traditional.turns[1].text
    assert traditional.turns[0] == simplified.turns[0]


def test_an_unsupported_language_or_a_missing_model_is_a_setup_error(audio_source, tmp_path):
    english = {FAST.model: resolve(FAST.model).path}
    with pytest.raises(SetupError, match="does not support the language 'zh'"):
        TranscribeStage(FAST.model_copy(update={"language": "zh"}), audio_source, english).setup()
    with pytest.raises(SetupError, match="can't load the model"):
        TranscribeStage(FAST, audio_source, {FAST.model: tmp_path}).setup()


def test_a_batch_too_large_for_gpu_memory_is_halved(transcribe, tmp_path, monkeypatch):
    """As many windows at once as there is memory for, with the same words."""
    recording = talk(tmp_path, SHOP, GUT, SHOP, GUT, SHOP, GUT, SHOP, GUT)
    [whole] = transcribe(recording)
    sizes = []
    recognise = WhisperRecogniser.recognise

    def limited(self, windows, *options):
        if len(windows) > 1:
            raise RuntimeError("CUDA failed with error out of memory")
        sizes.append(len(windows))
        return recognise(self, windows, *options)

    monkeypatch.setattr(WhisperRecogniser, "recognise", limited)
    [halved] = transcribe(recording)
    assert [turn.text for turn in halved.turns] == [turn.text for turn in whole.turns]
    assert len(sizes) > 1
