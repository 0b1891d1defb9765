import pytest
import soundfile
import soxr
import torch
from torch import Tensor

from stages.train.vocoder.flow import Flow
from stages.train.vocoder.istft import Generator
from stages.train.vocoder.shape import RATE
from stages.train.vocoder.vocoder import Vocoder
from tests.paths import DEMO
from tests.stages.train.vocoder.small_shapes import LITTLE, LITTLE_WAVE, randomised


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def spoken() -> Tensor:
    """samples_N of a reader's second at 22.05 kHz."""
    file = DEMO / "monologues/LJ002-0020.wav"
    samples, rate = soundfile.read(file, dtype="float32")
    samples = soxr.resample(samples, rate, RATE)
    return torch.from_numpy(samples[:RATE])


@pytest.fixture
def vocoder() -> Vocoder:
    """One with random weights, of which nothing is zero."""
    return randomised(Vocoder(Flow(LITTLE), Generator(LITTLE_WAVE))).eval()


@pytest.fixture(scope="session")
def tokens() -> list[int]:
    """Seven blocks and a bit of random audio tokens."""
    return torch.randint(0, 5120, (113,), generator=torch.Generator().manual_seed(1)).tolist()
