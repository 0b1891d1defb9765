import io
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from schemas.errors import SetupError
from schemas.hashing import shuffle_key
from schemas.sample import Clip, Sample
from stages.shard import ShardConfig, write_shards
from stages.train.metrics import read_metrics
from stages.train.vocoder.code_embeddings import initial_embeddings
from stages.train.vocoder.config import VocoderTrainConfig
from stages.train.vocoder.flow import Flow
from stages.train.vocoder.istft import Generator
from stages.train.vocoder.released import open_vocoder
from stages.train.vocoder.shape import MELS, PRESETS, RATE, VocoderShape, frames_of
from stages.train.vocoder.shards import ShardUtterances, index_shard
from stages.train.vocoder.train import train_vocoder
from stages.train.vocoder.utterances import InMemoryUtterances, VocoderUtterance, batch_of
from stages.train.vocoder.vocoder import Vocoder, load, save
from tests.stages.train.launched import launch
from tests.stages.train.old_records import use_old_names
from tests.stages.train.vocoder.small_shapes import (
    LITTLE,
    LITTLE_PLAIN_WAVE,
    LITTLE_WAVE,
    no_voice,
    randomised,
)

CONFIG = VocoderTrainConfig(
    preset="tiny",
    steps=4,
    global_batch_size=2,
    blocks=2,
    frames=16,
    checkpoint_every=2,
    sample_every=4,
    samples=1,
    adversarial_from=2,
    discriminator_width=4,
)


@pytest.fixture
def speech(spoken) -> InMemoryUtterances:
    """Parts of a real recording with random codes."""
    rng = np.random.default_rng(0)
    lengths = (40, 30, 20)
    return InMemoryUtterances(
        [
            VocoderUtterance(
                f"utterance-{n}", rng.integers(0, 5120, n).astype(np.int32), spoken[: n * 530].numpy()
            )
            for n in lengths
        ]
    )


def measure(samples):
    """A pitch of 150 Hz, with a pause."""
    hz = np.full(len(samples) // 160 + 1, 150, np.float32)
    hz[20:25] = 0
    return hz


def train(config, speech, version, folder, on_progress=lambda metrics: None):
    return train_vocoder(config, speech, speech, {"version": version}, folder, on_progress, measure=measure)


@pytest.fixture
def _narrow(monkeypatch):
    """Small networks, because the tests are about the loop."""
    monkeypatch.setitem(PRESETS, "tiny", VocoderShape(LITTLE, LITTLE_WAVE))


def losses(folder):
    return [
        {k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(folder / "metrics.jsonl")
    ]


@pytest.mark.usefixtures("_narrow")
def test_a_stopped_run_resumes_bit_for_bit(speech, tmp_path):
    whole = train(CONFIG, speech, "1", tmp_path / "whole")

    def stop(metrics):
        if metrics["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, speech, "1", tmp_path / "stopped", on_progress=stop)
    stopped = train(CONFIG, speech, "1", tmp_path / "stopped")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert [line["step"] for line in losses(tmp_path / "whole")] == [0, 1, 2, 3]
    assert {"pitch", "judges", "adversarial", "features"} <= losses(tmp_path / "whole")[2].keys()
    weights = [load(folder, no_voice).state_dict() for folder in (whole, stopped)]
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))
    folder = tmp_path / "whole/samples/00000004"
    names = ["utterance-40.wav", "utterance-40.mel.wav", "utterance-40.original.wav"]
    assert sorted(file.name for file in folder.iterdir()) == sorted(names)
    assert soundfile.info(folder / names[0]).frames == frames_of(40) * 256
    assert list((tmp_path / "whole/tensorboard").iterdir())


@pytest.mark.usefixtures("_narrow")
def test_a_run_recorded_under_old_names_of_settings_is_left_unchanged(speech, tmp_path):
    config = CONFIG.model_copy(update={"steps": 1, "adversarial_from": None, "samples": 0})
    finished = train(config, speech, "1", tmp_path)
    use_old_names(tmp_path)
    assert train(config, speech, "1", tmp_path) == finished
    with pytest.raises(SetupError, match=r"its config\.global_batch_size is 2, not 4"):
        train(config.model_copy(update={"global_batch_size": 4}), speech, "1", tmp_path)


def narrow_run(config, speech, folder):
    """Called by each process."""
    torch.set_num_threads(1)
    PRESETS["tiny"] = VocoderShape(LITTLE, LITTLE_WAVE)
    return train(config, speech, "1", folder)


@pytest.mark.usefixtures("_narrow")
def test_two_processes_that_share_a_batch_have_the_losses_of_one(speech, tmp_path):
    """With excerpts without padding, so that losses are means over the same number of frames."""
    config = CONFIG.model_copy(update={"blocks": 1, "adversarial_from": None})
    train(config, speech, "1", tmp_path / "one")
    folders = launch(2, narrow_run, config, speech, tmp_path / "two")
    assert folders == [tmp_path / "two" / "model"] * 2
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [line["flow"] for line in two] == pytest.approx([line["flow"] for line in one], rel=1e-4)
    assert two[0]["mel"] == pytest.approx(one[0]["mel"], rel=1e-4)
    assert [line["step"] for line in two] == [0, 1, 2, 3]


@pytest.mark.usefixtures("_narrow")
def test_processes_that_cant_share_a_batch_are_refused(speech, tmp_path):
    with pytest.raises(ChildFailedError, match="2 processes can't share global_batch_size 3 evenly"):
        launch(2, narrow_run, CONFIG.model_copy(update={"global_batch_size": 3}), speech, tmp_path)


@pytest.mark.usefixtures("_narrow")
def test_a_run_that_was_stopped_with_other_networks_is_refused(speech, tmp_path, monkeypatch):
    def stop(metrics):
        if metrics["step"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setitem(PRESETS, "tiny", VocoderShape(LITTLE, LITTLE_PLAIN_WAVE))
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, speech, "1", tmp_path, stop)
    monkeypatch.setitem(PRESETS, "tiny", VocoderShape(LITTLE, LITTLE_WAVE))
    with pytest.raises(
        SetupError, match="networks that the preset tiny no longer has: choose another folder"
    ):
        train(CONFIG, speech, "1", tmp_path)


@pytest.mark.usefixtures("_narrow")
def test_another_run_in_the_folder_is_refused(speech, tmp_path):
    once = CONFIG.model_copy(update={"steps": 1, "samples": 0})
    train(once, speech, "1", tmp_path)
    with pytest.raises(SetupError, match="another run: its version is 1, not 2"):
        train(once, speech, "2", tmp_path)


@pytest.mark.usefixtures("_narrow")
def test_bfloat16_starts_with_nearly_the_same_losses(speech, tmp_path):
    for precision in ("float32", "bfloat16"):
        changes = {"steps": 1, "samples": 0, "adversarial_from": 0, "precision": precision}
        train(CONFIG.model_copy(update=changes), speech, "1", tmp_path / precision)
    full, half = (losses(tmp_path / precision)[0] for precision in ("float32", "bfloat16"))
    assert full != half
    assert half == pytest.approx(full, rel=0.02)


def test_initial_embeddings_follow_what_codes_sound_like(spoken):
    """Two codes for each of two recordings: codes of one recording are more alike than of different ones."""
    loud, soft = spoken[:20000].numpy(), np.random.default_rng(1).normal(0, 0.3, 20000).astype(np.float32)
    codes = {10: loud[:9540], 11: loud[9540:19080], 2000: soft[:9540], 2001: soft[9540:19080]}
    speech = InMemoryUtterances(
        [VocoderUtterance(str(c), np.full(18, c, np.int32), x) for c, x in codes.items()]
    )
    embedding, counts = initial_embeddings(speech, 5120, MELS, 16, seed=0)
    assert embedding.shape == (5120, 16)
    distance = torch.cdist(embedding, embedding)
    assert distance[10, 11] < distance[10, 2000]
    assert distance[2000, 2001] < distance[2000, 11]
    assert embedding[[10, 11, 2000, 2001]].square().mean() == pytest.approx(1, abs=0.01)
    assert embedding.square().mean() == pytest.approx(1, abs=0.05), "codes that are never heard"
    assert torch.equal(embedding, initial_embeddings(speech, 5120, MELS, 16, seed=0)[0])
    assert counts[[10, 11, 2000, 2001, 12]].tolist() == [18, 18, 18, 18, 0]


def test_nothing_to_learn_from_is_refused(tmp_path):
    with pytest.raises(SetupError, match="keep_audio: true"):
        train_vocoder(CONFIG, InMemoryUtterances([]), InMemoryUtterances([]), {}, tmp_path)


def test_an_excerpt_and_its_mel_are_aligned(speech):
    """30 tokens and their frames; after the end there is padding, which has no loss."""

    def numbered(utterance):
        """The number of each frame, in place of its pitch."""
        return np.arange(frames_of(len(utterance.tokens)), dtype=np.float32)

    flow, wave = batch_of(0, speech, CONFIG, [0, 1], numbered)
    assert flow.tokens_BL.shape == (2, 30)
    assert flow.features_BMT.shape == (2, 80, frames_of(30))
    assert flow.is_frame_BT.sum(1).tolist() == [frames_of(int(n)) for n in flow.lengths_B]
    assert wave.audio_BN.shape == (2, 16 * 256)
    assert wave.hz_BT.diff().eq(1).all()
    for row, hz_T in enumerate(wave.hz_BT):
        first = int(hz_T[0])
        assert any(
            torch.equal(wave.mel_BMT[row], speech.read(n).features()[:, first : first + 16]) for n in range(3)
        ), "the pitch and the mel are of the same frames"
    _, again = batch_of(0, speech, CONFIG, rows=[1])
    assert torch.equal(again.audio_BN, wave.audio_BN[1:]), "whoever else computes the other"


def test_audio_parts_of_shards_are_read_with_their_codes(spoken, tmp_path):
    """A question and an answer that is interleaved with its text; the FLAC has both in sequence."""
    sound = soundfile_16k(spoken)
    question, answer = np.arange(20), np.arange(1000, 1030)
    first_id = 70
    ids = [
        1,
        2,
        5,
        *(first_id + question),
        6,
        3,
        9,
        9,
        5,
        *(first_id + answer[:15]),
        9,
        *(first_id + answer[15:]),
        6,
        3,
    ]
    place = {"recording": "r", "track": 0}
    parts = [
        {"type": "audio", **place, "start": 2.0, "end": 2.5, "spans": [[2, 24]]},
        {"type": "text", "spans": [[25, 27], [43, 44]]},
        {"type": "audio", **place, "start": 7.0, "end": 7.4, "spans": [[27, 43], [44, 60]]},
    ]
    record = {
        "messages": [{"role": "human", "content": parts[:1]}, {"role": "assistant", "content": parts[1:]}]
    }
    clips = (Clip("r", 0, 2.0, 2.5), Clip("r", 0, 7.0, 7.4))
    sample = Sample("sample", "aqtaa", record, np.array(ids, np.int32), np.ones(len(ids), np.uint8), clips)
    config = ShardConfig(keep_audio=True)
    twice = sorted([sample, replace(sample, key="again")], key=lambda each: shuffle_key(each.key))
    [shard] = write_shards(twice, tmp_path, "train", 0, config, lambda _: flac(sound[: 8000 + 6400]))
    with shard.path.open("rb") as file:
        index = index_shard(file, 0)

    def read(number, start, size):
        return shard.path.read_bytes()[start : start + size]

    speech = ShardUtterances(index, read, first_id)
    assert len(speech) == 2, "turns that stand in two samples are taken once"
    first, second = speech.read(0), speech.read(1)
    assert (first.tokens.tolist(), second.tokens.tolist()) == (question.tolist(), answer.tolist())
    assert (len(first.samples), len(second.samples)) == (round(0.5 * RATE), round(0.4 * RATE))
    correlation = np.corrcoef(second.samples, spoken[round(0.5 * RATE) :][: len(second.samples)])[0, 1]
    assert correlation > 0.95


def soundfile_16k(spoken):
    import soxr

    return soxr.resample(spoken.numpy(), RATE, 16000)


def flac(samples):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16000, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def test_a_vocoder_is_read_back_bit_for_bit_and_another_folder_refused(vocoder, tmp_path):
    save(vocoder, tmp_path)
    back = open_vocoder(tmp_path, no_voice)
    assert back.shape == vocoder.shape
    assert all(torch.equal(a, b) for a, b in zip(vocoder.parameters(), back.parameters(), strict=True))
    config = json.loads((tmp_path / "config.json").read_text())
    config["wave"]["width"] = 17
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SetupError, match=r"wave\.\S+ is \[16"):
        load(tmp_path, no_voice)
    with pytest.raises(SetupError, match=r"no usable config\.json of a vocoder"):
        load(tmp_path / "nothing", no_voice)


def test_a_folder_from_before_harmonic_sources_still_opens(tokens, tmp_path):
    plain = randomised(Vocoder(Flow(LITTLE), Generator(LITTLE_PLAIN_WAVE))).eval()
    save(plain, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["wave"]["pitch"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    back = open_vocoder(tmp_path, no_voice)
    assert back.shape == plain.shape
    assert torch.equal(back.speak(tokens[:30], steps=2), plain.speak(tokens[:30], steps=2))


def test_half_precision_is_half_the_size_and_sounds_nearly_the_same(vocoder, tokens, tmp_path):
    save(vocoder, tmp_path / "float")
    save(vocoder, tmp_path / "half", torch.float16)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("float", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    mels = [load(tmp_path / name, no_voice).features(tokens[:30], steps=2) for name in ("float", "half")]
    assert (mels[0] - mels[1]).abs().mean() < 0.05
