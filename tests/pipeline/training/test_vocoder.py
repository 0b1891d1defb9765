import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.cli import main
from pipeline.inference.answer_vocoder import open_answer_vocoder
from pipeline.training.vocoder import load
from stages.train.vocoder.shape import PRESETS, VocoderShape
from tests.paths import DEMO
from tests.stages.train.vocoder.small_shapes import LITTLE_VOICE

DEMO = DEMO / "monologues"


def written(folder, dataset, **changes):
    file = folder / "vocoder.yaml"
    settings = {"preset": "tiny", "steps": 2, "global_batch_size": 2, "blocks": 2, "samples": 1}
    recipe = {"name": "voice", "dataset": str(dataset), "output": "runs", "vocoder": settings}
    file.write_text(yaml.safe_dump(recipe | changes))
    return str(file)


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments])
    return ended.value.code, capsys.readouterr().err


def test_a_version_without_audio_is_refused_with_what_to_do(given, tmp_path, capsys):
    code, stderr = refused(capsys, written(tmp_path, given))
    assert code == 1
    assert "nothing to learn from" in stderr
    assert "keep_audio: true" in stderr


def test_a_misspelt_setting_is_reported_with_its_line(given, tmp_path, capsys):
    code, stderr = refused(
        capsys, written(tmp_path, given, vocoder={"steps": 2, "preset": "tiny", "blok": 3})
    )
    assert code == 1
    assert "vocoder.yaml:5: unknown key `vocoder.blok`; did you mean `blocks`?" in stderr


def test_old_names_of_settings_still_work_with_a_warning(tmp_path, capsys):
    settings = {"preset": "tiny", "batch": 3}
    recipe = load(written(tmp_path, "calls", vocoder=settings), ["vocoder.clip=2"])
    assert (recipe.vocoder.global_batch_size, recipe.vocoder.max_grad_norm) == (3, 2)
    first, second = capsys.readouterr().err.splitlines()
    assert "vocoder.yaml:5: `vocoder.batch` is now called `vocoder.global_batch_size`" in first
    assert second.startswith("--set vocoder.clip=2: `vocoder.clip` is now called `vocoder.max_grad_norm`")


def test_options_that_only_language_models_have_are_refused(given, tmp_path, capsys):
    recipe = written(tmp_path, given)
    assert refused(capsys, recipe, "--plan")[0] == 2
    assert refused(capsys, recipe, "--stage", "sft1")[0] == 2
    code, stderr = refused(capsys, recipe, "--output", "s3://bucket/runs")
    assert code == 1
    assert "needs a local directory" in stderr


def test_the_preset_of_a_voice_needs_sentences_and_no_other_takes_them(given, tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("...\n\n")
    for settings, message in (
        ({"preset": "voice"}, "`sentences` belongs to the preset `voice`"),
        ({"preset": "tiny", "sentences": "empty.txt"}, "`sentences` belongs to the preset `voice`"),
        ({"preset": "voice", "sentences": "none.txt"}, "none.txt"),
        ({"preset": "voice", "sentences": "empty.txt"}, "empty.txt has no sentences: write one per line"),
    ):
        code, stderr = refused(capsys, written(tmp_path, given, vocoder=settings))
        assert code == 1
        assert message in stderr


def test_a_voice_speaks_the_sentences_once_and_learns_the_codes_of_the_version(
    given, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(PRESETS, "voice", VocoderShape(LITTLE_VOICE, PRESETS["voice"].wave))
    (tmp_path / "sentences.txt").write_text("Good morning.\n\nThree plus four is seven.\n")
    settings = {
        "preset": "voice",
        "sentences": "sentences.txt",
        "steps": 2,
        "global_batch_size": 2,
        "samples": 1,
    }
    recipe = written(tmp_path, given, vocoder=settings)
    main(["train", recipe, "--json"])
    out, err = capsys.readouterr()
    trained = json.loads(out)
    assert trained["utterances"] == 4, "each sentence as it is, and changed"
    assert "spoken 2/2 sentences" in err
    folder = Path(trained["vocoder"])
    config = json.loads((folder / "config.json").read_text())
    assert config["wave"]["voice"] == "package:piper-joe"
    assert config["codes"]["tokenize"]["tokenizer"] == "whisper"
    main(["train", recipe, "--json"])
    again = capsys.readouterr()
    assert json.loads(again.out)["skipped"]
    assert "spoken" not in again.err
    assert open_answer_vocoder(folder).stream


@pytest.mark.slow
def test_a_vocoder_is_trained_on_a_version_that_keeps_audio(tmp_path, capsys):
    inputs = tmp_path / "in"
    inputs.mkdir()
    shutil.copy(DEMO / "LJ002-0020.wav", inputs)
    shutil.copy(DEMO / "librivox_ss_0870.mp3", inputs)
    build = tmp_path / "build.yaml"
    build.write_text(
        "name: kept\ninputs: [in]\noutput: out\ntranscribe: {model: 'package:whisper-tiny-en'}\n"
        "compose: {families: [continuation, tts]}\nshard: {keep_audio: true, validation_share: 0}\n"
    )
    command = Path(sys.executable).with_name("aqaa-data")
    built = subprocess.run([command, "build", build, "--json"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    recipe = written(tmp_path, tmp_path / "out" / "kept")
    main(["train", recipe, "--json"])
    trained = json.loads(capsys.readouterr().out)
    assert not trained["skipped"]
    assert trained["utterances"] >= 2
    assert (Path(trained["vocoder"]) / "model.safetensors").exists()
    codes = json.loads((Path(trained["vocoder"]) / "config.json").read_text())["codes"]
    assert codes["tokenize"]["tokenizer"] == "whisper"
    assert codes["models"], "by hash, so that codes of another tokenizer are refused"
    main(["versions", "show", str(tmp_path / "out" / "kept")])
    assert str(tmp_path / "runs/voice/vocoder") in capsys.readouterr().out
    assert len(list((tmp_path / "runs/voice/vocoder/samples/00000002").glob("*.wav"))) == 3
    main(["train", recipe, "--json"])
    assert json.loads(capsys.readouterr().out)["skipped"]
    workers = ("--set", "workers.count=2", "--set", "workers.cpus=0.5", "--set", "name=two")
    shared = subprocess.run([command, "train", recipe, "--json", *workers], capture_output=True, text=True)
    assert shared.returncode == 0, shared.stderr
    assert "vocoder 2/2 | flow" in shared.stderr
    one, two = (
        json.loads((tmp_path / f"runs/{name}/vocoder/metrics.jsonl").read_text().splitlines()[0])
        for name in ("voice", "two")
    )
    assert two["flow"] == pytest.approx(one["flow"], rel=0.05), "means of means: stretches have paddings"
