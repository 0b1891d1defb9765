"""Spoken answers: `aqaa-data answer -o`."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.inference.answer_vocoder import AudioChunk, open_answer_vocoder
from pipeline.models import resolve
from schemas.errors import SetupError
from schemas.layout import merged
from schemas.recording import Codes
from stages.train.grammar import Form
from stages.train.sampling import Sampling, answer
from stages.train.vocoder import released
from stages.train.vocoder.shape import RATE, frames_of
from tests.pipeline.tiny_models import FULL_ATTENTION, QUESTION, SHORT, SPEECH, write_vocoder


@pytest.fixture
def ask(command, tiny_checkpoint, vocoder):
    """Runs the command on the short question, by default for at most 60 tokens."""

    def run(*arguments, questions=(SHORT,), checkpoint=tiny_checkpoint, vocoder=vocoder):
        option = () if vocoder is None else ("--vocoder", vocoder)
        return command(
            "answer", "--checkpoint", checkpoint, *option, *questions, "--max-tokens", 60, *arguments
        )

    return run


def samples_of(file):
    samples, rate = soundfile.read(file, dtype="int16")
    assert rate == RATE
    assert samples.ndim == 1
    return samples.astype(int)


def json_lines(done):
    assert done.code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_wav_holds_the_speech_of_all_codes(ask, tmp_path, vocoder):
    question, *_, whole = json_lines(ask("-o", tmp_path / "a.wav", "--json"))
    assert question["question"] == str(SHORT)
    samples = samples_of(tmp_path / "a.wav")
    tokens = merged(Codes(**whole["voices"][0])).tolist()
    assert len(tokens) >= 20
    assert len(samples) == whole["sound"]["samples"] == frames_of(len(tokens)) * 256
    expected = open_answer_vocoder(vocoder).vocoder.speak(tokens).numpy()
    assert np.abs(samples - expected * 32767).max() < 2
    assert samples.std() > 50
    assert 0 < whole["latency"]["first_text"] <= whole["latency"]["first_sound"] <= whole["latency"]["total"]


def test_streamed_and_whole_answers_are_the_same(ask, tmp_path):
    whole = json_lines(ask("-o", tmp_path / "whole.wav", "--json"))
    streamed = json_lines(ask("-o", tmp_path / "streamed.wav", "--stream", "--json"))
    assert streamed[-1]["ids"] == whole[-1]["ids"]
    one, other = (samples_of(tmp_path / name) for name in ("whole.wav", "streamed.wav"))
    assert len(one) == len(other)
    assert np.abs(one - other).max() <= 1
    other_seed = json_lines(ask("-o", tmp_path / "other.wav", "--seed", 1, "--json"))
    assert other_seed[-1]["ids"] != whole[-1]["ids"]


def test_output_without_json_is_the_text_and_the_latency(ask, tmp_path):
    done = ask("-o", tmp_path / "a.wav", "--stream", "--text")
    text = json_lines(ask("--text", "--mode", "interleaved", "--json", vocoder=None))[-1]["text"]
    assert done.stdout == f"{text}\n"
    assert "first sound" in done.stderr
    assert "total" in done.stderr


def test_text_only_needs_no_vocoder_and_has_no_codes(ask):
    *_, whole = json_lines(ask("--text", "--json", vocoder=None))
    assert whole["voices"] == []
    assert whole["text"].strip()
    assert whole["latency"]["first_sound"] is None


def test_several_questions_are_answered_into_a_folder(ask, tmp_path):
    done = ask("-o", tmp_path / "answers", questions=(SHORT, tmp_path / "gone.wav", QUESTION))
    assert done.code == 1
    assert "gone.wav: there is no such file" in done.stderr
    assert sorted(file.name for file in (tmp_path / "answers").iterdir()) == [
        "1688-142285-0003.wav",
        "LJ002-0020.wav",
    ]
    assert samples_of(tmp_path / "answers/LJ002-0020.wav").std() > 50


def test_audio_spans_follow_each_other(tiny_checkpoint, vocoder, vocabulary):
    """Each audio span sounds as if it were synthesized alone, streamed or whole."""
    import torch

    from stages.train.backbone import load, reader_of

    class TwoSpans:
        """A backbone that ends an audio span as soon as the grammar allows it."""

        def __init__(self):
            self.reader = reader_of(load(tiny_checkpoint, "cpu"))

        def read(self, ids):
            logits = self.reader.read(ids).clone()
            logits[vocabulary.audio_end] = 100 if len(seen) % 60 > 30 else -100
            logits[vocabulary.eot] = -100
            seen.extend(ids)
            return torch.as_tensor(logits)

    audio = {}
    for stream in (False, True):
        seen = []
        prompt = vocabulary.encode("Hm")
        events = answer(
            TwoSpans(), prompt, vocabulary, Form("audio_only"), Sampling(max_tokens=90, temperature=0)
        )
        *events, whole = open_answer_vocoder(vocoder, stream).speak(events, seed=0)
        chunks = [event.samples for event in events if isinstance(event, AudioChunk)]
        audio[stream] = np.concatenate(chunks)
    assert len(whole.voices) >= 2
    wrapped = open_answer_vocoder(vocoder).vocoder
    alone = np.concatenate([wrapped.speak(merged(codes).tolist()).numpy() for codes in whole.voices])
    assert np.allclose(audio[False], alone, atol=1e-5)
    assert np.allclose(audio[True], alone, atol=1e-5)


def test_stdout_gets_the_same_audio(ask, tmp_path, tiny_checkpoint, vocoder):
    json_lines(ask("-o", tmp_path / "a.wav", "--json"))
    arguments = (
        "--checkpoint",
        tiny_checkpoint,
        "--vocoder",
        vocoder,
        SHORT,
        "--max-tokens",
        "60",
        "-o",
        "-",
        "--stream",
    )
    command = Path(sys.executable).with_name("aqaa-data")
    done = subprocess.run([command, "answer", *arguments], capture_output=True, check=True)
    assert np.abs(samples_of(io.BytesIO(done.stdout)) - samples_of(tmp_path / "a.wav")).max() <= 1
    assert b"first sound" in done.stderr


def test_the_wav_grows_and_is_valid_after_ctrl_c(tiny_checkpoint, vocoder, tmp_path):
    file = tmp_path / "a.wav"
    arguments = (
        "--checkpoint",
        tiny_checkpoint,
        "--vocoder",
        vocoder,
        SHORT,
        "--mode",
        "audio_only",
        "-o",
        file,
        "--stream",
    )
    command = Path(sys.executable).with_name("aqaa-data")
    running = subprocess.Popen([command, "answer", *arguments], stderr=subprocess.PIPE, text=True)
    try:
        seen = set()
        while running.poll() is None and len(seen) < 3:
            if file.exists() and file.stat().st_size > 44:
                seen.add(file.stat().st_size)
            time.sleep(0.01)
        assert len(seen) == 3
        assert len(samples_of(file)) > 0
        os.kill(running.pid, signal.SIGINT)
        _, stderr = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 1
    assert stderr.strip().endswith("stopped")
    assert file.stat().st_size == 44 + 2 * len(samples_of(file))
    assert int.from_bytes(file.read_bytes()[40:44], "little") == 2 * len(samples_of(file))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--stream", "--text"), "name its file with -o"),
        (("-o", "-", "--json"), "both write to stdout"),
        (("-o", "no/where/a.wav"), "the folder of no/where/a.wav doesn't exist"),
        (("-o", SHORT), "would overwrite it"),
        (("-o", "{tmp}/a.wav", "--tokens-only"), "produces no audio"),
        (("-o", "{tmp}/a.wav", "--mode", "text_only"), "have no audio"),
        (("-o", "-", QUESTION), "takes one answer"),
        (("-o", __file__, QUESTION), "name a folder"),
        (("-o", "{tmp}", SHORT), "two questions have the same name"),
    ],
)
def test_options_that_can_not_be_combined_are_refused_before_loading(ask, tmp_path, arguments, why):
    done = ask(*(str(argument).format(tmp=tmp_path) for argument in arguments))
    assert done.code == 2
    assert why in done.stderr


def test_a_vocoder_for_another_tokenizer_is_refused(ask, tmp_path, vocoder):
    def trained_on(models):
        folder = shutil.copytree(vocoder, tmp_path / "of", dirs_exist_ok=True)
        config = json.loads((vocoder / "config.json").read_text()) | {"codes": {"models": models}}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    done = ask("-o", tmp_path / "a.wav", vocoder=trained_on({"package:whisper-base": "0" * 64}))
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert f"{tmp_path / 'of'} was trained on the codes of package:whisper-base (000000000000)" in done.stderr
    assert f"come from {SPEECH}" in done.stderr
    assert ask("-o", tmp_path / "a.wav", vocoder=trained_on({"elsewhere": resolve(SPEECH).sha256})).code == 0


def test_an_unusable_vocoder_is_named(ask, tmp_path, monkeypatch):
    whole_only = write_vocoder(tmp_path / "whole-only", FULL_ATTENTION)
    done = ask("-o", tmp_path / "a.wav", "--stream", vocoder=whole_only)
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert f"{whole_only}: this vocoder can't stream" in done.stderr
    assert ask("-o", tmp_path / "a.wav", vocoder=whole_only).code == 0
    assert not open_answer_vocoder(whole_only).stream
    done = ask("-o", tmp_path / "b.wav", vocoder=tmp_path / "nothing")
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert str(tmp_path / "nothing") in done.stderr
    monkeypatch.setattr(released, "SHIPPED", tmp_path / "none")
    done = ask("-o", tmp_path / "b.wav", vocoder=None)
    assert "name the folder of one with --vocoder" in done.stderr
    with pytest.raises(SetupError, match="can't stream"):
        open_answer_vocoder(whole_only, stream=True)
    assert not (tmp_path / "b.wav").exists()
