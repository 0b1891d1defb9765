"""`aqaa-data evaluate tokens`: utterances resynthesized and compared with the original."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.evaluation.originals import Original, TurnOriginals, drawn
from pipeline.evaluation.run import SPLITS, Evaluation, EvaluationOptions, evaluate_tokens
from pipeline.inference.tokenize_files import Refused
from tests.paths import RECORDINGS
from tests.pipeline.evaluation.published import MONOLOGUES, version_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short utterances, English and Chinese, among files that can't be judged."""
    folder = tmp_path_factory.mktemp("utterances")
    for name in ("LJ002-0020.wav", "BAC009S0764W0121.wav"):
        for file in (MONOLOGUES / name, MONOLOGUES / f"{name}.json"):
            shutil.copy(file, folder)
    shutil.copy(RECORDINGS / "bad/short_30ms.wav", folder)
    shutil.copy(RECORDINGS / "bad/html_error.flac", folder)
    shutil.copy(MONOLOGUES / "sonnet001_en.mp3", folder)
    soundfile.write(folder / "silence.wav", np.zeros(32000), 16000)
    soundfile.write(folder / "blip.wav", np.sin(np.arange(4000) / 3), 16000)
    return folder


@pytest.fixture(scope="module")
def evaluation(folder: Path, untrained: Path) -> Evaluation:
    return evaluate_tokens(EvaluationOptions((str(folder),), vocoder=untrained))


def test_unusable_utterances_are_set_aside_with_reasons_and_all_are_counted(evaluation):
    result = evaluation.resynthesis
    assert {one.file: one.code for one in result.set_aside} == {
        "short_30ms.wav": "too_short",
        "blip.wav": "too_short",
        "silence.wav": "silent",
        "html_error.flac": "unreadable",
        "sonnet001_en.mp3": "too_long",
    }
    values = result.as_json()
    assert values["utterances"] == {"found": 7, "judged": 2, "set_aside": 5, "not_drawn": 0}
    assert values["reasons"] == {"too_short": 2, "silent": 1, "unreadable": 1, "too_long": 1}


def test_the_original_has_perfect_scores_against_itself(evaluation):
    for one in evaluation.resynthesis.judged:
        own = one.conditions["original"]
        assert own.heard_otherwise.wrong == 0
        assert own.similarity == pytest.approx(1, abs=1e-4)
        assert own.f0_correlation == pytest.approx(1)
        assert (own.voicing_agreement, own.mel_distance) == (1, 0)


def test_an_untrained_vocoder_is_worse_in_every_measure(evaluation):
    measures = evaluation.resynthesis.measures()
    for name, estimates in measures.items():
        sign = 1 if name.endswith(("wer", "cer", "distance")) else -1
        for condition in ("mel", "tokens"):
            if estimates[condition] is not None:
                assert sign * estimates[condition].value > sign * estimates["original"].value, (
                    name,
                    condition,
                )
    assert measures["text_wer"]["original"].value <= 0.5
    assert measures["original_wer"]["tokens"].value >= 0.5


def test_languages_without_spaces_are_counted_in_characters(evaluation):
    chinese, english = evaluation.resynthesis.judged
    assert (chinese.language, english.language) == ("zh", "en")
    assert chinese.conditions["original"].errors.of == len("甚至出现交易几乎停滞的情况")
    assert english.conditions["original"].errors.of < 5
    measures = evaluation.resynthesis.measures()
    assert {name: measures[name]["mel"].utterances for name in measures if name[-2:] == "er"} == {
        "text_wer": 1,
        "text_cer": 1,
        "original_wer": 1,
        "original_cer": 1,
    }


def test_scores_do_not_depend_on_other_utterances(evaluation, folder, untrained, tmp_path):
    shutil.copy(folder / "LJ002-0020.wav", tmp_path)
    shutil.copy(folder / "LJ002-0020.wav.json", tmp_path)
    again = evaluate_tokens(EvaluationOptions((str(tmp_path / "*.wav"),), vocoder=untrained))
    assert again.resynthesis.judged[0].conditions == evaluation.resynthesis.judged[1].conditions


def test_the_page_is_self_contained(evaluation):
    from pipeline.report.tokens import TITLES, render

    page = render(evaluation)
    for name in evaluation.resynthesis.measures():
        assert page.count(TITLES[name]) >= 2, "in the table and above its plot"
    assert page.count("<audio") == 2 * 3
    assert page.count("<circle") >= 2 * 3
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "sonnet001_en.mp3" in page


def test_the_command_judges_the_turns_of_a_version(command, with_audio, untrained, tmp_path):
    page = tmp_path / "tokens.html"
    done = command(
        "evaluate", "tokens", "--vocoder", untrained, "--json", "--report", page, with_audio.store.directory
    )
    assert done.code == 0, done.stderr
    output = json.loads(done.stdout)
    assert set(output) == {
        "places",
        "dataset",
        "tokenizer",
        "seed",
        "resynthesis",
        "perplexity",
        "sampled",
    }
    assert output["dataset"] == f"given@{with_audio.id}"
    result = output["resynthesis"]
    assert result["utterances"] == {"found": 1, "judged": 1, "set_aside": 0, "not_drawn": 0}
    [one] = result["judged"]
    assert one["name"] == "reader-0.wav 0.100-1.500"
    assert one["text"] == "in eighteen thirteen"
    assert one["groups"] == 12
    assert result["vocoder"]["of_speech"] == pytest.approx(12 * 0.12, abs=0.02)
    assert result["vocoder"]["real_time_factor"] > 0
    assert page.stat().st_size > 10_000


def test_the_generator_of_a_voice_speaks_no_mels(command, untrained_voice, tmp_path):
    page = tmp_path / "tokens.html"
    file = MONOLOGUES / "LJ002-0020.wav"
    done = command("evaluate", "tokens", "--vocoder", untrained_voice, "--report", page, file)
    assert done.code == 0
    assert "tokens -> wave" in done.stdout
    assert "mel -> wave" not in done.stdout
    assert page.read_text().count("<audio") == 2
    assert "mel spectrogram" not in page.read_text()


def test_a_turn_is_read_once_with_its_audio_and_codes(with_audio):
    turns = TurnOriginals(with_audio, SPLITS, 10, 0)
    [turn] = turns
    assert isinstance(turn, Original)
    assert (turns.found, turn.source, turn.language) == (1, "reader-0.wav", "en")
    assert turn.tokens[:5].tolist() == [0, 7, 1024, 1035, 1046]
    whole, rate = soundfile.read(MONOLOGUES / "LJ002-0020.wav", dtype="float32")
    assert len(turn.samples) == 22400
    assert np.corrcoef(turn.samples[:8000], resampled(whole, rate)[1600:9600])[0, 1] > 0.99


def resampled(samples, rate):
    import soxr

    return soxr.resample(samples, rate, 16000)


def test_a_recognisers_transcript_is_not_written_text(with_audio, tmp_path):
    [turn] = TurnOriginals(with_audio, SPLITS, 10, 0)
    assert turn.text == "in eighteen thirteen"
    other = version_of(tmp_path / "two", keep_audio=True, recordings=2)
    assert [one.text for one in TurnOriginals(other, SPLITS, 10, 0)] == ["in eighteen thirteen", None]


def test_drawing_repeats_for_a_seed_and_changes_little_when_items_are_added():
    names = [f"{n:03}" for n in range(100)]
    some = drawn(names, 20, 0, str)
    assert some == drawn(names[::-1], 20, 0, str) == sorted(some)
    assert len(set(some) - set(drawn([*names, "more"], 20, 0, str))) <= 1
    assert some != drawn(names, 20, 1, str)


def refused(command, *arguments):
    done = command("evaluate", "tokens", *arguments)
    assert done.stdout == ""
    return done.code, done.stderr


def test_errors_in_the_options_are_reported_before_any_synthesis(command, codes_only, untrained, tmp_path):
    vocoder = ("--vocoder", untrained)
    file = MONOLOGUES / "LJ002-0020.wav"
    for arguments, code, message in (
        (("--vocoder", tmp_path / "none", file), 1, "none has no usable config.json"),
        (("--vocoder", tmp_path, file), 1, "no usable config.json"),
        ((*vocoder, "nowhere.wav"), 1, "there is no such file"),
        ((*vocoder, tmp_path / "none@latest"), 1, "there is no dataset 'none'"),
        ((*vocoder, "--tokenizer", "file:/none", file), 1, "there is no /none"),
        ((*vocoder, codes_only.store.directory), 1, "keep_audio: true"),
        ((*vocoder, codes_only.store.directory, file), 1, "by itself"),
        ((*vocoder, "--tokenizer", "whisper", codes_only.store.directory), 1, "--tokenizer applies to files"),
        ((*vocoder, "--split", "train", file), 1, "--split applies to a dataset"),
        ((*vocoder, "--report", tmp_path / "no/where.html", file), 2, "where.html doesn't exist"),
        (vocoder, 2, "Missing argument"),
    ):
        status, stderr = refused(command, *arguments)
        assert status == code, stderr
        assert message in stderr


def test_if_nothing_is_left_the_reasons_are_reported(command, untrained):
    bad = RECORDINGS / "bad"
    code, output = refused(command, "--vocoder", untrained, bad / "short_30ms.wav", bad / "html_error.flac")
    assert code == 1
    assert "there is nothing left to judge: " in output
    assert "html_error.flac: " in output


def test_sidecars_without_usable_text_are_ignored(tmp_path):
    from pipeline.evaluation.originals import FileOriginals

    for name, sidecar in (("a", '{"text": 3, "language": null}'), ("b", "{"), ("c", '{"text": "  "}')):
        shutil.copy(MONOLOGUES / "LJ002-0020.wav", tmp_path / f"{name}.wav")
        (tmp_path / f"{name}.wav.json").write_text(sidecar)
    good, bad, blank = FileOriginals([str(tmp_path)], "whisper", 10, 0)
    assert (good.text, good.source, blank.text) == (None, "a.wav", None)
    assert isinstance(bad, Refused)
    assert bad.code == "bad_sidecar"


def test_files_are_limited_by_hash_and_the_rest_is_counted(folder):
    from pipeline.evaluation.originals import FileOriginals

    files = FileOriginals([str(folder)], "whisper", 3, 0)
    assert (files.found, len(files), len(list(files))) == (7, 3, 3)
