"""The tokenize stage: the number of codes, and independence from batches, other recordings and threads."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from schemas.errors import SetupError
from schemas.recording import Codes, DecodeColumn, Diarization, DiarizeColumn, Problem, Recording, Turn, Unit
from stages.stage import Samples
from stages.tokenize import TokenizeConfig, TokenizeStage
from stages.tokenize.codebooks import FILE, Codebook, Codebooks, Vectors
from stages.tokenize.tokenizer import Tokenizer, peak_normalised
from stages.tokenize.trained.checkpoint import TrainedCodes
from stages.tokenize.trained.quantizer import CodesShape, Quantizer
from stages.tokenize.trained.tokenizer import TrainedTokenizer
from stages.tokenize.whisper import WhisperEncoder, WhisperTokenizer
from stages.tokenize.whisper_weights import read_whisper, weights_sha256
from stages.tokenize.windows import WindowStream, joined
from tests.paths import RECORDINGS

WINDOW = 480_000
SPEECH = "demo/monologues/1688-142285-0003.flac"
CONVERSATION = "demo/conversations/ami_trn09.flac"


@pytest.fixture(scope="module")
def encoder() -> WhisperEncoder:
    return WhisperEncoder(resolve("package:whisper-tiny-en").path)


@pytest.fixture(scope="module")
def codebooks(encoder: WhisperEncoder) -> Codebooks:
    """Small codebooks whose centroids are frames of the speech itself."""
    [frames] = encoder.frames([speech()])
    return Codebooks(codebook(frames.linguistic), codebook(frames.semantic), encoder.sha256)


def codebook(vectors: Vectors) -> Codebook:
    width = vectors.shape[1]
    projection = np.eye(width, 8, dtype=np.float16)
    return Codebook(np.zeros(width, np.float16), projection, vectors[:20, :8].astype(np.float16))


@pytest.fixture(scope="module", params=["kmeans", "trained"])
def tokenizer(request: pytest.FixtureRequest, encoder: WhisperEncoder, codebooks: Codebooks) -> Tokenizer:
    return WhisperTokenizer(encoder, codebooks) if request.param == "kmeans" else untrained()


def untrained() -> TrainedTokenizer:
    """Codes of random networks: what is tested here holds for any weights."""
    path = resolve("package:whisper-tiny-en").path
    weights, sha256 = read_whisper(path), weights_sha256(path)
    shape = CodesShape.of_model(weights)
    torch.manual_seed(0)
    codes = TrainedCodes(shape, sha256, Quantizer(shape).eval().requires_grad_(False), None)
    return TrainedTokenizer(weights, sha256, codes)


def speech() -> Samples:
    samples, rate = soundfile.read(RECORDINGS / SPEECH, dtype="float32")
    assert rate == 16_000
    return samples


# --- the number of codes


@settings(max_examples=60)
@given(st.integers(0, 5_000))
def test_n_samples_give_n_over_960_linguistic_and_n_over_640_semantic_codes(
    tokenizer: Tokenizer, samples: int
):
    [codes] = tokenizer.encode([noise(samples)])
    assert (len(codes.linguistic), len(codes.semantic)) == (samples // 960, samples // 640)
    assert tokenizer.counts(samples) == (samples // 960, samples // 640)


@pytest.mark.parametrize("extra", [-1, 0, 1, 319, 320, 640, 960])
def test_the_number_of_codes_around_a_cut_at_30_seconds(tokenizer: Tokenizer, extra: int):
    [codes] = tokenizer.encode([noise(WINDOW + extra)])
    assert (len(codes.linguistic), len(codes.semantic)) == tokenizer.counts(WINDOW + extra)


@given(st.integers(0, 10**9))
def test_every_120_ms_make_one_group_of_two_linguistic_and_three_semantic_codes(
    tokenizer: Tokenizer, samples: int
):
    linguistic, semantic = tokenizer.counts(samples)
    assert min(linguistic // 2, semantic // 3) == samples // 1920


def noise(samples: int) -> Samples:
    return np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)


# --- independence


def test_codes_do_not_depend_on_the_batch(tokenizer: Tokenizer):
    utterances = [speech(), speech()[: 3 * 16_000], noise(20_000), speech()[16_000:]]
    alone = [tokenizer.encode([utterance])[0] for utterance in utterances]
    assert tokenizer.encode(utterances) == alone
    assert tokenizer.encode(utterances[::-1]) == alone[::-1]


def test_codes_do_not_depend_on_the_level(tokenizer: Tokenizer):
    assert tokenizer.encode([speech() / 4]) == tokenizer.encode([speech()])


def test_different_speech_has_different_codes(tokenizer: Tokenizer):
    first, second = tokenizer.encode([speech()[: 2 * 16_000], speech()[2 * 16_000 : 4 * 16_000]])
    assert first != second
    assert len(set(first.semantic)) > 5


def test_windows_of_30_seconds_are_encoded_independently(tokenizer: Tokenizer):
    long = np.tile(speech(), 8)[: WINDOW + 40_000]
    [whole] = tokenizer.encode([long])
    parts = (
        streamed(tokenizer, peak_normalised(long)[:WINDOW]),
        streamed(tokenizer, peak_normalised(long)[WINDOW:]),
    )
    assert whole == joined(parts)


def test_a_semantic_frame_contains_states_spectrum_and_pitch(encoder: WhisperEncoder):
    [frames] = encoder.frames([speech()])
    assert frames.linguistic.shape == (len(speech()) // 960, encoder.width)
    assert frames.semantic.shape == (len(speech()) // 640, encoder.width + encoder.bands + 2)


def test_frames_do_not_depend_on_other_windows_to_the_last_bit(encoder: WhisperEncoder):
    ragged = [speech()[:n] for n in (960, 20_000, 20_001, 23_000, 64_000)]
    together = list(encoder.frames(ragged))
    for window, frames in zip(ragged, together, strict=True):
        [alone] = encoder.frames([window])
        assert np.array_equal(alone.semantic, frames.semantic)
        assert np.array_equal(alone.linguistic, frames.linguistic)


def test_a_code_is_the_nearest_centroid(codebooks: Codebooks):
    book = codebooks.semantic
    vectors = np.random.default_rng(0).normal(0, 1, (50, book.width)).astype(np.float32)
    centroids = book.centroids.astype(np.float64)
    projected = (vectors - book.mean) @ book.projection.astype(np.float64)
    distances = np.linalg.norm(projected[:, None] - centroids[None], axis=-1)
    assert np.array_equal(book.nearest(vectors), distances.argmin(axis=1))


# --- streams


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(0, WINDOW + 60_000), max_size=6), st.floats(0.1, 4))
def test_a_stream_gives_the_codes_of_the_whole_utterance(tokenizer: Tokenizer, cuts: list[int], gain: float):
    samples = np.tile(speech(), 8)[: WINDOW + 60_000]
    [whole] = tokenizer.encode([samples])
    assert streamed(tokenizer, peak_normalised(samples), cuts) == whole
    assert streamed(tokenizer, samples, cuts, gain) == streamed(tokenizer, samples, gain=gain)


def test_a_stream_returns_codes_every_30_seconds_and_at_the_end(tokenizer: Tokenizer):
    stream = tokenizer.stream(1.0)
    fed = [stream.feed(noise(200_000)) for _ in range(3)]
    assert [len(codes.semantic) for codes in fed] == [0, 0, 750]
    assert len(stream.finish().semantic) == 120_000 // 640


def test_a_stream_of_small_pieces_copies_each_sample_a_few_times_at_most(monkeypatch: pytest.MonkeyPatch):
    copied = []
    concatenate = np.concatenate
    monkeypatch.setattr(
        np, "concatenate", lambda parts: copied.append(sum(map(len, parts))) or concatenate(parts)
    )
    stream = WindowStream(lambda windows: iter(()), 1.0)
    for _ in range(2 * WINDOW // 320):
        stream.feed(np.zeros(320, np.float32))
    stream.finish()
    assert 2 * WINDOW <= sum(copied) <= 3 * WINDOW


def streamed(tokenizer: Tokenizer, samples: Samples, cuts: Sequence[int] = (), gain: float = 1.0) -> Codes:
    stream = tokenizer.stream(gain)
    pieces = np.split(samples, sorted(cuts))
    return joined([*(stream.feed(piece) for piece in pieces), stream.finish()])


# --- the stage


def stage(audio: SpooledAudio, threads: int = 1) -> TokenizeStage:
    config = TokenizeConfig()
    tokenize = TokenizeStage(config, audio, {ref: resolve(ref).path for ref in config.models}, threads)
    tokenize.setup()
    return tokenize


def recording_of(path: str) -> Recording:
    """A listed file, before any stage."""
    file = RECORDINGS / path
    return Recording(path, file.as_uri(), file.stat().st_size, "1", "{}")


def diarized(path: str, *times: tuple[float, float]) -> Recording:
    turns = tuple(Turn(start, end, "A", 0, overlapped=False) for start, end in times)
    return replace(
        recording_of(path),
        decode=DecodeColumn(None),
        diarize=DiarizeColumn(Diarization("model", (), (), turns)),
    )


def test_every_live_turn_gets_the_codes_of_its_audio(audio_source: SpooledAudio):
    recording = diarized(CONVERSATION, (0.5, 2.5), (3.0, 4.0), (5.0, 9.0))
    recording = replace(
        recording, diarize=replace(recording.diarize, problems=(Problem("overlapped", "two speak", 1),))
    )
    tokenize = stage(audio_source)(Unit("u", (recording,))).recordings[0].tokenize
    first, second, third = tokenize.turns
    assert second is None
    assert (len(first.linguistic), len(first.semantic)) == (2 * 16_000 // 960, 50)
    assert (len(third.linguistic), len(third.semantic)) == (4 * 16_000 // 960, 100)
    assert max(first.linguistic) < 1024
    assert max(third.semantic) < 4096
    assert tokenize.problems == ()


def test_a_turn_too_short_for_a_group_is_set_aside_alone(audio_source: SpooledAudio):
    done = stage(audio_source)(Unit("u", (diarized(SPEECH, (0.0, 0.1), (1.0, 2.0)),))).recordings[0]
    [problem] = done.tokenize.problems
    assert (problem.code, problem.turn) == ("too_short", 0)
    assert done.live_turns() == [1]


def test_a_recording_that_was_set_aside_gets_no_codes(audio_source: SpooledAudio):
    out = replace(recording_of(SPEECH), decode=DecodeColumn(None, (Problem("silent", "nothing is heard"),)))
    assert stage(audio_source)(Unit("u", (out,))).recordings[0].tokenize.turns == ()


def test_the_turns_of_a_file_that_vanished_are_set_aside(audio_source: SpooledAudio):
    gone = replace(diarized(SPEECH, (0.0, 1.0)), uri="file:///nowhere/gone.flac")
    done = stage(audio_source)(Unit("u", (gone,))).recordings[0]
    assert [p.code for p in done.tokenize.problems] == ["vanished"]


def test_codes_do_not_depend_on_threads_or_other_recordings(audio_source: SpooledAudio):
    recordings = (
        diarized(SPEECH, (0.0, 1.5), (1.5, 4.0)),
        diarized(CONVERSATION, (0.5, 2.5), (5.0, 9.0)),
        diarized("demo/monologues/BAC009S0764W0121.wav", (0.0, 4.0)),
    )
    one = stage(audio_source)(Unit("u", recordings))
    assert stage(audio_source, threads=3)(Unit("u", recordings)) == one
    alone = stage(audio_source)(Unit("v", recordings[1:2]))
    assert alone.recordings == one.recordings[1:2]


# --- the codebooks


def test_the_bundled_codebooks_are_small_and_have_the_sizes_of_the_vocabulary():
    folder = resolve("package:whisper-codebooks").path
    shipped = Codebooks.load(folder)
    assert (shipped.linguistic.size, shipped.semantic.size) == (1024, 4096)
    assert (folder / FILE).stat().st_size < 2_000_000
    assert "Demonstration only" in (folder / "README.md").read_text()


def test_codebooks_survive_saving_and_loading(codebooks: Codebooks, tmp_path: Path):
    codebooks.save(tmp_path)
    again = Codebooks.load(tmp_path)
    assert again.model_sha256 == codebooks.model_sha256
    assert np.array_equal(again.semantic.centroids, codebooks.semantic.centroids)
    assert np.array_equal(again.linguistic.projection, codebooks.linguistic.projection)


def test_missing_codebooks_are_refused(tmp_path: Path):
    with pytest.raises(SetupError, match=r"there is no .*codebooks\.npz"):
        Codebooks.load(tmp_path)


@pytest.mark.parametrize("kept", [0, 10, 5_000, -1])
def test_a_truncated_file_is_refused(codebooks: Codebooks, tmp_path: Path, kept: int):
    file = codebooks.save(tmp_path)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(SetupError, match="damaged"):
        Codebooks.load(tmp_path)


def test_pickles_are_refused(tmp_path: Path):
    np.savez(tmp_path / FILE, model_sha256=np.array([{"a": 1}], dtype=object))
    with pytest.raises(SetupError, match="damaged"):
        Codebooks.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.pop("semantic_mean"), "should contain"),
        (
            lambda a: a.update(semantic_mean=a["semantic_mean"].astype(np.float32)),
            r"semantic_mean should be float16 \[466\], but is float32 \[466\]",
        ),
        (
            lambda a: a.update(linguistic_centroids=a["linguistic_centroids"][:, :5]),
            r"linguistic_centroids should be float16 \[20, 8\], but is float16 \[20, 5\]",
        ),
        (
            lambda a: a.update(semantic_projection=a["semantic_projection"][:100]),
            r"should be float16 \[466, 8\], but is float16 \[100, 8\]",
        ),
        (
            lambda a: a.update(linguistic_centroids=np.zeros((1025, 8), np.float16)),
            "1 to 1024 rows, not 1025",
        ),
        (lambda a: a.update(semantic_mean=a["semantic_mean"] + np.float16(np.inf)), "not finite"),
    ],
)
def test_codebooks_with_wrong_shapes_or_types_are_refused(
    codebooks: Codebooks, tmp_path: Path, change: Callable, says: str
):
    with np.load(codebooks.save(tmp_path)) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(tmp_path / FILE, **arrays)
    with pytest.raises(SetupError, match=says):
        Codebooks.load(tmp_path)


def test_codebooks_of_another_model_are_refused(encoder: WhisperEncoder):
    shipped = Codebooks.load(resolve("package:whisper-codebooks").path)
    with pytest.raises(SetupError, match="fitted to another model"):
        WhisperTokenizer(encoder, shipped)


def test_a_directory_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(SetupError, match=r"has no model\.bin"):
        WhisperEncoder(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"nothing")
    with pytest.raises(SetupError, match="can't be loaded"):
        WhisperEncoder(tmp_path)
