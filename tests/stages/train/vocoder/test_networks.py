import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from stages.train.vocoder.conformer import Encoder, RelativeAttention
from stages.train.vocoder.flow import Conditions, Flow
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.shape import BLOCK, MELS, PRESETS, HiFTShape, block_of, frames_of
from stages.train.vocoder.vocoder import Vocoder
from tests.stages.train.vocoder.small_shapes import LITTLE, randomised


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("preset", "flow", "wave"),
    [
        ("tiny", 1_212_864, 385_797),
        ("small", 7_974_336, 2_102_405),
        ("voice", 6_013_408, 1_662_976),
        # The public flow.pt has 105.4 M over 5,120 tokens; hift.pt 20.5 M with the norms of its weights.
        ("cosyvoice", 105_399_040, 20_447_517),
    ],
)
def test_presets_have_their_exact_sizes(preset, flow, wave):
    with torch.device("meta"):
        vocoder = Vocoder.of(PRESETS[preset])
    assert (parameters(vocoder.flow), parameters(vocoder.wave)) == (flow, wave)


def test_the_public_shape_has_as_many_tensors_as_the_public_files():
    with torch.device("meta"):
        vocoder = Vocoder.of(PRESETS["cosyvoice"])
    assert isinstance(vocoder.wave.shape, HiFTShape)
    normalised = 57  # convolutions whose weight is stored as a direction and a norm
    assert len(vocoder.flow.state_dict()) == 1185
    assert len(vocoder.wave.state_dict()) + normalised == 227


def test_blocks_of_tokens_are_frames_without_drift():
    assert [frames_of(15 * n) for n in range(4)] == [0, 31, 62, 93]
    assert frames_of(15 * 128) == 31 * 128 + 1
    hour = 3600 * 1000 // 24 // 15 * 15
    assert abs(frames_of(hour) * 256 / 22050 - hour * 0.024) < 256 / 22050


def test_a_frame_belongs_to_the_block_that_it_is_synthesised_with():
    for frame in range(0, 20_000, 7):
        block = block_of(frame)
        assert frames_of(BLOCK * block) <= frame < frames_of(BLOCK * (block + 1))
    assert torch.equal(block_of(torch.arange(100)), torch.tensor([block_of(n) for n in range(100)]))


def test_mels_are_those_of_the_hifi_gan_family(spoken):
    import librosa

    mirrored = F.pad(spoken[None, None], (384, 384), mode="reflect")[0, 0].numpy()
    magnitudes = abs(librosa.stft(mirrored, n_fft=1024, hop_length=256, window="hann", center=False))
    bands = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
    expected = torch.from_numpy(bands @ magnitudes).clamp(min=1e-5).log()
    result = log_mel(spoken[None])[0]
    assert result.shape == (80, 22050 // 256)
    loud = expected > -8  # below, what is added before the root tells
    assert torch.allclose(result[loud], expected[loud], atol=1e-3)


def test_a_mel_of_too_few_samples_is_refused():
    with pytest.raises(ValueError, match="at least 385 samples"):
        log_mel(torch.zeros(1, 384))


def test_relative_attention_is_the_formula():
    """Transformer-XL's four terms, for one pair of tokens at a time."""
    layer = randomised(RelativeAttention(LITTLE))
    x = torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(2))
    q, k, v = ((project(x)[0]).view(6, 2, 8) for project in (layer.linear_q, layer.linear_k, layer.linear_v))
    out = torch.zeros(6, 2, 8)
    for i in range(6):
        for h in range(2):
            scores = []
            for j in range(6):
                places = [(i - j) * 10000 ** (-2 * n / 16) for n in range(8)]
                sines = torch.tensor([f(place) for place in places for f in (math.sin, math.cos)])
                position = layer.linear_pos(sines).view(2, 8)[h]
                content = (q[i, h] + layer.pos_bias_u[h]) @ k[j, h]
                scores.append((content + (q[i, h] + layer.pos_bias_v[h]) @ position) / math.sqrt(8))
            out[i, h] = torch.stack(scores).softmax(0) @ v[:, h]
    expected = layer.linear_out(out.view(1, 6, 16))
    assert torch.allclose(layer(x, None), expected, atol=1e-5)


def changed_from(network, x, at, dim=1):
    """The first step of the output that a change of the input at step `at` reaches, and the last."""
    other = x.clone()
    other.select(dim, at)[:] += 1.0
    with torch.no_grad():
        difference = (network(x) - network(other)).abs()
    reached = difference.amax(dim=[d for d in range(difference.dim()) if d != dim]) > 1e-7
    return reached.nonzero()[0].item(), reached.nonzero()[-1].item()


def test_a_token_is_seen_by_its_block_later_ones_and_the_look_ahead():
    encoder = randomised(Encoder(LITTLE)).eval()
    x = torch.randn(1, 120, 16, generator=torch.Generator().manual_seed(2))
    assert changed_from(encoder, x, 45 + LITTLE.ahead - 1)[0] == 30, "the block before looks ahead so far"
    assert changed_from(encoder, x, 45 + LITTLE.ahead)[0] == 45, "and no farther"
    reach = 15 * LITTLE.past * LITTLE.layers
    assert changed_from(encoder, x, 0)[1] == 15 + reach - 1, "each layer sees so many blocks back"


def test_the_public_shape_sees_everything():
    encoder = randomised(Encoder(replace(LITTLE, past=None, ahead=0, residual=False))).eval()
    x = torch.randn(1, 60, 16, generator=torch.Generator().manual_seed(2))
    assert changed_from(encoder, x, 59) == (0, 59)


@pytest.mark.parametrize("shape", [LITTLE, replace(LITTLE, past=None, ahead=0, channels=(16, 24))])
@pytest.mark.parametrize("length", [5, 16, 45])
def test_networks_have_the_frames_of_their_tokens(shape, length):
    flow = Flow(shape).eval()
    tokens = torch.randint(0, 5120, (2, length), generator=torch.Generator().manual_seed(0))
    encoded = flow.encode(tokens)
    assert encoded.shape == (2, MELS, frames_of(length))
    conditions = Conditions(encoded, flow.speaker(torch.ones(2, 192)), torch.zeros_like(encoded))
    assert (
        flow.velocity(torch.randn_like(encoded), torch.tensor([0.1, 0.9]), conditions).shape == encoded.shape
    )


def test_padding_does_not_change_earlier_frames():
    flow = randomised(Flow(LITTLE)).eval()
    tokens = torch.randint(0, 5120, (1, 60), generator=torch.Generator().manual_seed(0))
    alone = flow.encode(tokens[:, :40])
    padded = flow.encode(tokens, torch.tensor([40]))[:, :, : alone.shape[2]]
    # But for the frame at the edge, which lies between the last token and the padding.
    assert torch.allclose(alone[:, :, :-2], padded[:, :, :-2], atol=1e-5)
