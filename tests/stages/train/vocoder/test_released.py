"""Random weights with the public names and shapes; narrow ones for tests that compute with them."""

import pytest
import torch
from torch.nn.utils import parametrizations

from schemas.errors import SetupError
from stages.train.vocoder.hift import HiFT
from stages.train.vocoder.released import PUBLIC, folded, load_released, open_vocoder
from stages.train.vocoder.shape import FlowShape, HiFTShape, VocoderShape, frames_of
from stages.train.vocoder.vocoder import Vocoder
from tests.stages.train.vocoder.small_shapes import no_voice

NARROW = VocoderShape(FlowShape(16, 2, 24, 1, (16, 16), 2, 8, 1, 1), HiFTShape(16, 8))
"""Otherwise like the public vocoder: two levels, attention over everything, norms over time."""

NORMALISED = ("conv_pre", "ups", "convs1", "convs2", "conv_post", "condnet")


def weight_normalised(state, parametrised=False):
    """A hift.pt: each weight of a normalised convolution as its norm and its direction."""
    normalised = {}
    for name, tensor in state.items():
        if name.endswith(".weight") and any(part in name.split(".") for part in NORMALISED):
            layer = name.removesuffix("weight")
            norm = tensor.flatten(1).norm(dim=1).view(-1, 1, 1)
            g, v = ("weight_g", "weight_v")
            if parametrised:
                g, v = (f"parametrizations.weight.original{n}" for n in (0, 1))
            normalised |= {layer + g: norm, layer + v: tensor * 3}  # a direction has any length
        else:
            normalised[name] = tensor
    return normalised


@pytest.fixture
def original():
    torch.manual_seed(0)
    return Vocoder.of(NARROW).eval()


@pytest.fixture
def folder(original, tmp_path):
    torch.save(original.flow.state_dict(), tmp_path / "flow.pt")
    torch.save(weight_normalised(original.wave.state_dict()), tmp_path / "hift.pt")
    return tmp_path


def changed(file, change):
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)


def test_public_names_load_and_speak(original, folder, tokens):
    loaded = load_released(folder, NARROW)
    assert all(
        torch.allclose(a, b, atol=1e-6)
        for a, b in zip(original.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    samples = loaded.speak(tokens[:40])
    assert samples.shape == (frames_of(40) * 256,)
    assert samples.std() > 0
    assert torch.allclose(samples, original.speak(tokens[:40]), atol=1e-3)


def test_a_speaker_and_a_prompt_change_the_output(folder, tokens):
    vocoder = load_released(folder, NARROW)
    alone = vocoder.features(tokens[:40])
    speaker = torch.randn(192, generator=torch.Generator().manual_seed(1)).tolist()
    prompt = (tokens[40:70], torch.randn(80, frames_of(30), generator=torch.Generator().manual_seed(2)))
    for how in ({"speaker": speaker}, {"prompt": prompt}):
        other = vocoder.features(tokens[:40], **how)
        assert other.shape == alone.shape
        assert not torch.allclose(other[:, :, :80], alone[:, :, :80], atol=1e-3)


def test_the_tokens_of_a_prompt_last_as_long_as_its_mel(folder, tokens):
    """In the public program: tokens and mel of a recording needn't agree to the frame."""
    flow = load_released(folder, NARROW).flow
    at_1L = torch.tensor([tokens[:40]])
    x_1ML = flow.encoder_proj(flow.encoder(flow.input_embedding(at_1L), None)).transpose(1, 2)
    before, after = (
        torch.nn.functional.interpolate(x, size=size, mode="linear")
        for x, size in ((x_1ML[..., :30], 66), (x_1ML[..., 30:], frames_of(10)))
    )
    expected = flow.length_regulator.model(torch.cat([before, after], 2))
    assert torch.allclose(flow.encode(at_1L, prompt=(30, 66)), expected, atol=1e-5)


def test_names_of_newer_programs_load_too(original, folder):
    state = weight_normalised(original.wave.state_dict(), parametrised=True)
    torch.save({f"generator.{name}": tensor for name, tensor in state.items()}, folder / "hift.pt")
    torch.save(
        {f"module.{name}": t.half() for name, t in original.flow.state_dict().items()}, folder / "flow.pt"
    )
    assert load_released(folder, NARROW).flow.encoder_proj.weight.dtype == torch.float32


def test_weight_normalisation_is_folded_as_in_torch():
    for layer in (torch.nn.Conv1d(6, 4, 3), torch.nn.ConvTranspose1d(6, 4, 4)):
        normalised = parametrizations.weight_norm(layer)
        with torch.no_grad():
            normalised.parametrizations.weight.original0.mul_(2.5)
        assert torch.allclose(
            folded({f"ups.0.{name}": tensor for name, tensor in normalised.state_dict().items()})[
                "ups.0.weight"
            ],
            normalised.weight,
            atol=1e-6,
        )


def test_a_missing_tensor_is_named(folder):
    changed(folder / "flow.pt", lambda state: state.pop("encoder.after_norm.bias"))
    with pytest.raises(SetupError, match=r"flow\.pt .* 1 missing: encoder\.after_norm\.bias"):
        load_released(folder, NARROW)


def test_every_kind_of_difference_is_reported(folder):
    def change(state):
        state.pop("m_source.l_linear.bias")
        state["conv_pre.weight_h"] = torch.zeros(3)
        state["source_downs.0.bias"] = torch.zeros(5)

    changed(folder / "hift.pt", change)
    with pytest.raises(SetupError) as raised:
        load_released(folder, NARROW)
    assert "1 missing: m_source.l_linear.bias; 1 unexpected: conv_pre.weight_h" in str(raised.value)
    assert "1 of another shape: source_downs.0.bias [5] for [8]" in str(raised.value)


def test_the_vocoder_of_another_codebook_is_refused(folder):
    """CosyVoice's own has 4,096 tokens."""

    def cut(state):
        state["input_embedding.weight"] = state["input_embedding.weight"][:4096].clone()

    changed(folder / "flow.pt", cut)
    with pytest.raises(SetupError, match=r"input_embedding\.weight \[4096, 16\] for \[5120, 16\]"):
        load_released(folder, NARROW)


def test_rows_after_those_of_the_codes_are_harmless(folder):
    def more(state):
        state["input_embedding.weight"] = torch.cat([state["input_embedding.weight"], torch.zeros(1, 16)])

    changed(folder / "flow.pt", more)
    assert load_released(folder, NARROW).flow.shape.tokens == 5121


def test_swapped_files_are_refused(folder):
    (folder / "flow.pt").rename(folder / "other")
    (folder / "hift.pt").rename(folder / "flow.pt")
    (folder / "other").rename(folder / "hift.pt")
    with pytest.raises(SetupError, match=r"missing: decoder\.estimator\."):
        load_released(folder, NARROW)


def test_damaged_missing_and_foreign_files_are_refused(folder):
    content = (folder / "hift.pt").read_bytes()
    (folder / "hift.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(SetupError, match=r"hift\.pt is damaged"):
        load_released(folder, NARROW)
    torch.save(["no", "dict"], folder / "hift.pt")
    with pytest.raises(SetupError, match="not a state dict"):
        load_released(folder, NARROW)
    (folder / "hift.pt").unlink()
    with pytest.raises(SetupError, match=r"hift\.pt does not exist"):
        load_released(folder, NARROW)


def test_values_that_are_not_finite_are_refused(folder):
    changed(folder / "flow.pt", lambda state: state["encoder_proj.bias"].fill_(float("nan")))
    with pytest.raises(SetupError, match=r"encoder_proj\.bias has values that are not finite"):
        load_released(folder, NARROW)


def test_the_real_shape_is_distinguished_from_a_narrow_one(folder):
    """Without allocating the hundred million weights."""
    for read in (lambda: load_released(folder, PUBLIC), lambda: open_vocoder(folder, no_voice)):
        with pytest.raises(SetupError, match=r"flow\.pt is not of Step-Audio"):
            read()


def test_hift_gives_a_hop_of_samples_per_frame_and_depends_on_the_seed():
    torch.manual_seed(0)
    hift = HiFT(HiFTShape(16, 8)).eval()
    mel = torch.randn(2, 80, 9)
    with torch.no_grad():
        assert hift(mel).shape == (2, 9 * 256)
        assert torch.equal(hift(mel, seed=3), hift(mel, seed=3))
        assert not torch.equal(hift(mel, seed=3), hift(mel, seed=4))
