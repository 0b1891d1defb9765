"""The Step-Audio tokenizer: the codes of the original, in batches and streams."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inputs.spooled_audio import SpooledAudio
from schemas.errors import DataError, SetupError
from schemas.recording import Codes, DecodeColumn, Diarization, DiarizeColumn, Recording, Turn, Unit
from stages.stage import Samples
from stages.tokenize import TokenizeConfig, TokenizeStage
from stages.tokenize.resample import to_16k
from stages.tokenize.step_audio.branches import PADDING, buckets
from stages.tokenize.step_audio.checkpoint import CENTRES, PARAFORMER, SEMANTIC, Checkpoint, read
from stages.tokenize.step_audio.counts import PIECE
from stages.tokenize.step_audio.features import FilterBank, LogMel, framed
from stages.tokenize.step_audio.tokenizer import StepAudioTokenizer
from stages.tokenize.step_audio.trim import trimmed
from stages.tokenize.tokenizer import peak_normalised
from tests.paths import DEMO, FIXTURES, RECORDINGS
from tests.stages.tokenize.step_audio import oracle

FIXTURE = FIXTURES / "step-audio-tokenizer-small"
SPEECH = "1688-142285-0003.flac"


@dataclass(frozen=True)
class Golden:
    """An utterance, and its codes by the original."""

    file: str
    samples: Samples
    codes: Codes

    def __str__(self) -> str:
        return self.file


def golden() -> list[Golden]:
    lines = map(json.loads, FIXTURE.with_suffix(".golden.jsonl").read_text().splitlines())
    return [
        Golden(line["file"], audio(line["file"]), Codes(tuple(line["vq02"]), tuple(line["vq06"])))
        for line in lines
    ]


def audio(name: str) -> Samples:
    if name.startswith("noise"):
        return noise(int(name.removeprefix("noise")))
    [file] = RECORDINGS.rglob(name)
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return to_16k(np.ascontiguousarray(samples.T), rate)


def noise(samples: int) -> Samples:
    generator = torch.Generator().manual_seed(samples)
    return (torch.randn(1, samples, generator=generator) * 0.1)[0].numpy()


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return read(FIXTURE)


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Checkpoint) -> StepAudioTokenizer:
    return StepAudioTokenizer(checkpoint)


@pytest.fixture(scope="module")
def speech() -> Samples:
    return audio(SPEECH)


# --- the codes of the original


@pytest.mark.parametrize("utterance", golden(), ids=str)
def test_a_single_utterance_has_the_codes_of_the_original(tokenizer: StepAudioTokenizer, utterance: Golden):
    assert tokenizer.encode([utterance.samples]) == [utterance.codes]


def test_a_batch_has_the_codes_of_the_original(tokenizer: StepAudioTokenizer):
    utterances = golden()
    assert sum(len(u.codes.linguistic) + len(u.codes.semantic) for u in utterances) == 9863
    assert tokenizer.encode([u.samples for u in utterances]) == [u.codes for u in utterances]


@pytest.mark.parametrize("samples", [880, 3840, 7000, 80_960])
def test_linguistic_codes_are_those_of_chunk_by_chunk_encoding(
    tokenizer: StepAudioTokenizer, checkpoint: Checkpoint, speech: Samples, samples: int
):
    cut = speech[:samples]
    expected = oracle.linguistic_codes(checkpoint, torch.from_numpy(peak_normalised(cut)))
    assert list(tokenizer.encode([cut])[0].linguistic) == expected


def test_semantic_codes_are_those_of_the_onnx_model(tokenizer: StepAudioTokenizer, speech: Samples):
    session = onnxruntime.InferenceSession(FIXTURE / SEMANTIC)
    mel = whisper_mel(torch.from_numpy(peak_normalised(speech)))
    names = [given.name for given in session.get_inputs()]
    lengths = np.array([mel.shape[2]], np.int32)
    [expected] = session.run(None, dict(zip(names, (mel.numpy(), lengths), strict=True)))
    assert list(tokenizer.encode([speech])[0].semantic) == expected.flatten().tolist()


def whisper_mel(samples: torch.Tensor) -> torch.Tensor:
    """Log-mel spectrum by torch's own transform, [1, 128, n // 160]."""
    import librosa

    spectrum = torch.stft(samples, 400, 160, window=torch.hann_window(400), return_complex=True)
    filters = torch.from_numpy(librosa.filters.mel(sr=16_000, n_fft=400, n_mels=128))
    log = (filters @ spectrum[:, :-1].abs() ** 2).clamp_min(1e-10).log10()
    return ((torch.maximum(log, log.max() - 8) + 4) / 4)[None]


def test_filter_banks_agree_with_kaldi(speech: Samples):
    import torchaudio

    samples = torch.from_numpy(speech)
    expected = torchaudio.compliance.kaldi.fbank(
        samples[None] * 32768, num_mel_bins=80, dither=0.0, energy_floor=0.0, window_type="hamming"
    )
    assert torch.allclose(FilterBank()(framed(samples)), expected, atol=2e-3)


def test_spectra_of_a_batch_are_those_of_each_piece(speech: Samples):
    pieces = [torch.from_numpy(speech[:n]) for n in (480, 16_000, 3_210)]
    together = LogMel()(pieces)
    assert together.shape == (3, 100, 128)
    for mel, piece in zip(together, pieces, strict=True):
        count = len(piece) // 160
        assert torch.allclose(mel[:count].T, whisper_mel(piece)[0], atol=1e-5)
        assert not mel[count:].any()


# --- the number of codes


@pytest.mark.parametrize("first", range(1, 5_001, 250))
def test_counts_are_correct_for_every_length(tokenizer: StepAudioTokenizer, speech: Samples, first: int):
    lengths = range(first, first + 250)
    codes = tokenizer.encode([speech[20_000 : 20_000 + n] for n in lengths])
    assert [(len(c.linguistic), len(c.semantic)) for c in codes] == [tokenizer.counts(n) for n in lengths]


@pytest.mark.parametrize("extra", [-161, -160, -1, 0, 1, 150, 479, 480, 640, 879, 880, 3_840])
@pytest.mark.parametrize("pieces", [1, 2])
def test_counts_are_correct_around_multiples_of_30_seconds(
    tokenizer: StepAudioTokenizer, speech: Samples, pieces: int, extra: int
):
    samples = np.resize(speech, pieces * PIECE + extra)
    [codes] = tokenizer.encode([samples])
    assert (len(codes.linguistic), len(codes.semantic)) == tokenizer.counts(len(samples))


@pytest.mark.parametrize(
    ("samples", "counts"),
    [
        (0, (0, 0)),
        (479, (0, 0)),
        (480, (0, 1)),
        (879, (0, 2)),
        (880, (1, 2)),
        (3840, (4, 6)),
        (480_000, (500, 750)),
        (480_150, (500, 750)),
        (480_480, (500, 751)),
    ],
)
def test_counts_at_the_edges(tokenizer: StepAudioTokenizer, samples: int, counts: tuple[int, int]):
    assert tokenizer.counts(samples) == counts


# --- independence


@settings(max_examples=25)
@given(cuts=st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 60_000)), min_size=1, max_size=8))
def test_codes_do_not_depend_on_the_batch(
    tokenizer: StepAudioTokenizer, speech: Samples, cuts: list[tuple[int, int]]
):
    utterances = [speech[start : start + length] for start, length in cuts]
    alone = [tokenizer.encode([utterance])[0] for utterance in utterances]
    assert tokenizer.encode(utterances) == alone
    assert tokenizer.encode(utterances[::-1]) == alone[::-1]


def test_codes_depend_on_the_speech_but_not_on_its_level(tokenizer: StepAudioTokenizer, speech: Samples):
    first, second, quiet = tokenizer.encode([speech[:30_000], speech[30_000:60_000], speech[:30_000] / 4])
    assert first == quiet
    assert first != second


def test_an_utterance_that_rounding_could_change_is_encoded_again_by_itself(
    tokenizer: StepAudioTokenizer, speech: Samples, monkeypatch: pytest.MonkeyPatch
):
    from stages.tokenize.step_audio import codebook

    utterances = [speech[:20_000], speech[20_000:60_000]]
    expected = tokenizer.encode(utterances)
    batch_sizes: list[int] = []
    tokenizer._semantic.register_forward_hook(lambda _, inputs, __: batch_sizes.append(len(inputs[0])))
    monkeypatch.setattr(codebook, "ROUNDING", 1.0)  # then every code is doubtful
    assert tokenizer.encode(utterances) == expected
    assert batch_sizes == [2, 1, 1]


def test_samples_that_are_not_finite_are_refused(tokenizer: StepAudioTokenizer, speech: Samples):
    with pytest.raises(DataError, match="infinite"):
        tokenizer.encode([speech, np.array([0.1, np.nan], np.float32)])


def test_dither_is_the_same_for_every_utterance_and_seed(checkpoint: Checkpoint, speech: Samples):
    quiet = (speech[:40_000] / 3000).astype(np.float32)  # close to the noise: amplified by at most 40 dB
    dithered = StepAudioTokenizer(checkpoint, dither=3)
    [codes] = dithered.encode([quiet])
    assert dithered.encode([speech, quiet])[1] == codes
    assert StepAudioTokenizer(checkpoint, dither=3).encode([quiet]) == [codes]
    assert StepAudioTokenizer(checkpoint, dither=4).encode([quiet])[0].linguistic != codes.linguistic
    plain = StepAudioTokenizer(checkpoint).encode([quiet])[0]
    assert plain.linguistic != codes.linguistic
    assert plain.semantic == codes.semantic
    assert joined(pieces_of(dithered, quiet, [7_000, 7_001, 30_000])) == codes_at_gain(dithered, quiet)


def test_bfloat16_gives_mostly_the_same_codes(checkpoint: Checkpoint, speech: Samples):
    [exact] = StepAudioTokenizer(read(FIXTURE)).encode([speech])
    [near] = StepAudioTokenizer(read(FIXTURE), "bfloat16").encode([speech])
    same = np.mean(np.array(exact.linguistic) == np.array(near.linguistic))
    assert same > 0.8
    assert len(near.semantic) == len(exact.semantic)


@pytest.mark.gpu
def test_a_gpu_gives_the_codes_of_the_original(tokenizer: StepAudioTokenizer):
    utterances = golden()
    assert tokenizer._device.type == "cuda"
    assert tokenizer.encode([u.samples for u in utterances]) == [u.codes for u in utterances]


# --- buckets


@given(st.lists(st.integers(480, PIECE), max_size=60))
def test_buckets_contain_every_piece_once_with_little_padding(lengths: list[int]):
    most = 60 * 16_000
    groups = buckets(lengths, most)
    assert sorted(index for bucket in groups for index in bucket) == list(range(len(lengths)))
    for bucket in groups:
        held = [lengths[index] for index in bucket]
        padded = max(held) * len(held)
        assert padded <= most
        assert padded * (1 - PADDING) <= sum(held)


def test_batches_are_halved_when_gpu_memory_runs_out(
    tokenizer: StepAudioTokenizer, speech: Samples, monkeypatch: pytest.MonkeyPatch
):
    utterances = [speech[: 20_000 + 100 * n] for n in range(8)]
    expected = tokenizer.encode(utterances)
    for branch, most in ((tokenizer._linguistic, 5), (tokenizer._semantic, 3)):
        branch_forward = branch.encoder.forward

        def forward(x, *rest, most=most, whole=branch_forward):
            if len(x) > most:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return whole(x, *rest)

        monkeypatch.setattr(branch.encoder, "forward", forward)
    assert tokenizer.encode(utterances) == expected


def test_too_little_gpu_memory_for_one_utterance_is_a_setup_error(
    tokenizer: StepAudioTokenizer, speech: Samples, monkeypatch: pytest.MonkeyPatch
):
    def forward(*_: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(tokenizer._semantic.encoder, "forward", forward)
    with pytest.raises(SetupError, match=r"too small for one utterance.* Tried to allocate 2 GiB"):
        tokenizer.encode([speech, speech])


# --- streams


def pieces_of(tokenizer: StepAudioTokenizer, samples: Samples, cuts: Sequence[int]) -> list[Codes]:
    stream = tokenizer.stream(gain_of(samples))
    return [*(stream.feed(piece) for piece in np.split(samples, sorted(cuts))), stream.finish()]


def gain_of(samples: Samples) -> float:
    return float(np.float32(0.999) / max(float(np.abs(samples).max(initial=0)), 0.01))


def codes_at_gain(tokenizer: StepAudioTokenizer, samples: Samples) -> Codes:
    return tokenizer.encode([samples])[0]


def joined(codes: Sequence[Codes]) -> Codes:
    return Codes(
        tuple(code for some in codes for code in some.linguistic),
        tuple(code for some in codes for code in some.semantic),
    )


@settings(max_examples=40)
@given(
    length=st.one_of(st.integers(1, 5_000), st.integers(1, 80_000)),
    cuts=st.lists(st.integers(0, 80_000), max_size=12),
)
def test_a_stream_gives_the_codes_of_the_whole_utterance(
    tokenizer: StepAudioTokenizer, speech: Samples, length: int, cuts: list[int]
):
    samples = speech[:length]
    streamed = pieces_of(tokenizer, samples, [min(cut, length) for cut in cuts])
    assert joined(streamed) == codes_at_gain(tokenizer, samples)


def test_a_stream_returns_linguistic_codes_every_240_ms_and_semantic_ones_every_30_s(
    tokenizer: StepAudioTokenizer, speech: Samples
):
    samples = np.resize(speech, PIECE + 20_000)
    streamed = pieces_of(tokenizer, samples, range(3840, len(samples), 3840))
    assert [len(codes.linguistic) for codes in streamed[:-2]] == [4] * (len(streamed) - 2)
    assert {n: len(codes.semantic) for n, codes in enumerate(streamed) if codes.semantic} == {
        PIECE // 3840 - 1: 750,
        len(streamed) - 1: 32,
    }
    assert joined(streamed) == codes_at_gain(tokenizer, samples)


def test_a_stream_encodes_only_new_chunks(tokenizer: StepAudioTokenizer, speech: Samples):
    encoded: list[int] = []
    hook = tokenizer._linguistic.encoder.register_forward_hook(
        lambda _, inputs, __: encoded.append(len(inputs[0]))
    )
    pieces_of(tokenizer, speech, range(3840, len(speech), 3840))
    hook.remove()
    assert encoded == [1] * len(encoded)
    assert len(encoded) == -(-tokenizer.counts(len(speech))[0] // 4)


# --- the checkpoint


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the checkpoint for a test to damage."""
    import shutil

    return Path(shutil.copytree(FIXTURE, tmp_path / "checkpoint"))


@pytest.mark.parametrize(
    "name",
    [CENTRES, SEMANTIC]
    + [f"{PARAFORMER}/{name}" for name in ("configuration.json", "config.yaml", "am.mvn", "model.pt")],
)
def test_a_missing_or_truncated_file_is_refused(copied: Path, name: str):
    file = copied / name
    whole = file.read_bytes()
    for kept in (0, 10, len(whole) // 2, len(whole) - len(whole) // 50):
        file.write_bytes(whole[:kept])
        with pytest.raises(SetupError, match=file.name.replace(".", r"\.")):
            read(copied)
    file.unlink()
    with pytest.raises(SetupError, match=rf"has no .*{file.name}; .* models pull step-audio-tokenizer"):
        read(copied)


def test_another_directory_is_refused(tmp_path: Path):
    with pytest.raises(SetupError, match="is not a Step-Audio-Tokenizer: no dengcunqin"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            "output_size: 128",
            "output_size: 256",
            r"should be \[768, 560\] by the sizes in config.yaml, but is \[384, 560\]",
        ),
        ("num_blocks: 3", "num_blocks: 4", "has no encoders.2"),
        ("num_blocks: 3", "num_blocks: 2", "also has encoders.1.*, which the sizes in config.yaml"),
        (
            "linear_units: 256",
            "linear_units: 100",
            r"w_1.weight should be \[100, 128\] .* but is \[256, 128\]",
        ),
        (
            "attention_heads: 4",
            "attention_heads: 3",
            "output_size 128 should be a multiple of attention_heads 3",
        ),
        (
            "attention_heads: 4",
            "attention_heads: many",
            "attention_heads should be a positive integer, not many",
        ),
        ("kernel_size: 11", "kernel_size: 10", "should be centred"),
        ("lfr_n: 6", "lfr_n: 5", "lfr_n should be 6, not 5"),
        ("fs: 16000", "fs: 8000", "fs should be 16000, not 8000"),
        ("fs: 16000", "fs: 16000\n    dither: loud", "dither should be a number >= 0, not loud"),
        ("frontend_conf:", "frontend:", "should have a section frontend_conf"),
        ("model: Para", "model: [", "config.yaml is damaged"),
    ],
)
def test_settings_that_do_not_match_are_refused(copied: Path, before: str, after: str, says: str):
    file = copied / PARAFORMER / "config.yaml"
    text = file.read_text()
    assert before in text
    # The first match is in the section of the encoder; that of the decoder has settings with the same names.
    file.write_text(text.replace(before, after, 1))
    with pytest.raises(SetupError, match=says):
        read(copied)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a[:, :64], r"rows of 128 numbers, but is float32 \[1024, 64\]"),
        (lambda a: a.astype(np.float64), "should be float32 .* but is float64"),
        (lambda a: np.concatenate([a, a]), "at most 1024 rows"),
        (lambda a: a * np.float32(np.inf), "not finite"),
        (lambda a: a.astype(object), "damaged or not an array of numbers"),
    ],
)
def test_centres_that_do_not_match_are_refused(copied: Path, change: Callable, says: str):
    np.save(copied / CENTRES, change(np.load(FIXTURE / CENTRES)), allow_pickle=True)
    with pytest.raises(SetupError, match=says):
        read(copied)


def test_a_pickle_with_more_than_weights_is_refused(copied: Path):
    torch.save({"state_dict": {"x": Path("/")}}, copied / PARAFORMER / "model.pt")
    with pytest.raises(SetupError, match="contains more than weights"):
        read(copied)


def test_weights_may_be_wrapped_and_prefixed(copied: Path, tokenizer: StepAudioTokenizer, speech: Samples):
    file = copied / PARAFORMER / "model.pt"
    weights = torch.load(file, weights_only=True)
    torch.save({"state_dict": {f"module.{name}": w for name, w in weights.items()}, "epoch": 3}, file)
    assert StepAudioTokenizer(read(copied)).encode([speech]) == tokenizer.encode([speech])


def test_weights_that_are_not_finite_are_refused(copied: Path):
    file = copied / PARAFORMER / "model.pt"
    weights = torch.load(file, weights_only=True)
    weights["encoder.after_norm.bias"][3] = torch.nan
    torch.save(weights, file)
    with pytest.raises(SetupError, match=r"after_norm\.bias contains values that are not finite"):
        read(copied)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("<AddShift>", "<Shift>", "<AddShift> should contain 560 finite numbers, but contains 0"),
        ("0 [ -11.248242", "0 [", "<AddShift> should contain 560 finite numbers, but contains 559"),
        ("0 [ -11.248242", "0 [ loud", "contains a value that is not a number"),
        ("<Rescale>", "<Splice>", "<Rescale> should contain 560 finite numbers, but contains 0"),
    ],
)
def test_a_normalization_that_does_not_match_is_refused(copied: Path, before: str, after: str, says: str):
    file = copied / PARAFORMER / "am.mvn"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    with pytest.raises(SetupError, match=says):
        read(copied)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda g: strides_of(g).__setitem__(0, 1),
            r"two convolutions with strides \[2, 2\], .* not \[1, 2\]",
        ),
        (
            lambda g: [g.initializer.remove(i) for i in g.initializer if i.name == "onnx::embed_t"],
            "is not speech_tokenizer_v1: it has no codebook",
        ),
        (
            lambda g: [g.initializer.remove(i) for i in g.initializer if i.name == "onnx::MatMul_2008"],
            "has no blocks.1.attn.key.weight",
        ),
    ],
)
def test_a_different_semantic_tokenizer_is_refused(copied: Path, change: Callable, says: str):
    import onnx

    model = onnx.load(copied / SEMANTIC)
    change(model.graph)
    onnx.save(model, copied / SEMANTIC)
    with pytest.raises(SetupError, match=says):
        read(copied)


def strides_of(graph: Any) -> Any:
    return next(a.ints for node in graph.node for a in node.attribute if a.name == "strides")


# --- voice prompts


def test_a_prompt_is_trimmed_to_whole_frames_with_margins(speech: Samples):
    loud = np.sin(np.arange(10_000) / 5).astype(np.float32)
    prompt = np.concatenate([np.zeros(6_000, np.float32), loud, np.zeros(9_000, np.float32)])
    kept = trimmed(prompt)
    assert (len(kept) - 4320) % 240 == 0
    assert np.flatnonzero(kept)[0] == pytest.approx(800, abs=512)
    assert np.count_nonzero(kept) == np.count_nonzero(prompt)
    early = trimmed(loud)
    assert not early[:800].any()
    assert np.array_equal(early[800:10_800], loud)


# --- the stage


def stage(audio: SpooledAudio, threads: int = 1) -> TokenizeStage:
    config = TokenizeConfig(tokenizer="step-audio", checkpoint=f"file:{FIXTURE}")
    assert config.models == (f"file:{FIXTURE}",)
    tokenize = TokenizeStage(config, audio, {f"file:{FIXTURE}": FIXTURE}, threads)
    tokenize.setup()
    return tokenize


def diarized(name: str, *times: tuple[float, float]) -> Recording:
    [file] = DEMO.rglob(name)
    turns = tuple(Turn(start, end, "A", 0, overlapped=False) for start, end in times)
    listed = Recording(name, file.as_uri(), file.stat().st_size, "1", "{}")
    return Recording(
        **vars(listed)
        | {"decode": DecodeColumn(None), "diarize": DiarizeColumn(Diarization("model", (), (), turns))}
    )


def test_the_codes_of_turns_do_not_depend_on_threads_or_other_recordings(audio_source: SpooledAudio):
    recordings = (
        diarized(SPEECH, (0.0, 1.5), (1.5, 1.52), (1.6, 5.0)),
        diarized("ami_trn09.flac", (0.5, 2.5), (5.0, 30.0)),
        diarized("BAC009S0764W0121.wav", (0.0, 4.0)),
    )
    one = stage(audio_source)(Unit("u", recordings))
    assert stage(audio_source, threads=3)(Unit("u", recordings)) == one
    assert stage(audio_source)(Unit("v", recordings[1:2])).recordings == one.recordings[1:2]
    first = one.recordings[0]
    assert [(p.code, p.turn) for p in first.tokenize.problems] == [("too_short", 1)]
    assert first.live_turns() == [0, 2]
    assert [len(codes.linguistic) for codes in one.recordings[1].tokenize.turns] == [33, 416]
