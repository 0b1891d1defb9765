"""Speech quality by DNSMOS P.835 (Reddy et al., arXiv:2110.01763), with the published ONNX model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.gpu import DeviceName, device_of
from stages.stage import Samples

WINDOW = 144_160
"""Samples of the model's input: 9.01 s."""

ON_GPU = "CUDAExecutionProvider"

_MOS_POLYNOMIALS = {
    "signal": (-0.08397278, 1.22083953, 0.0052439),
    "background": (-0.13166888, 1.60915514, -0.39604546),
    "overall": (-0.06766283, 1.11546468, 0.04602535),
}
"""The published polynomials that map the model's raw outputs, in order, to mean opinion scores."""


@dataclass(frozen=True)
class DnsmosScores:
    """Mean opinion scores, from 1 (bad) to 5 (excellent)."""

    signal: float
    background: float
    overall: float


class Dnsmos:
    """The model, with a single thread per call; safe to call from several threads."""

    def __init__(self, folder: Path, device: DeviceName = "cpu") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            folder / "sig_bak_ovr.onnx", options, providers=providers(device)
        )

    def score(self, samples: Samples) -> DnsmosScores:
        """Mean scores of samples [n] at 16 kHz over evenly spaced windows.

        Audio shorter than a window is repeated to fill it, as in the reference implementation. The reference
        moves its window by one second, which costs nine times as much; the windows here barely overlap.
        """
        raw = [self._session.run(None, {"input_1": w[None]})[0][0] for w in windows(samples)]
        means = [
            float(np.mean([np.polyval(polynomial, scores[column]) for scores in raw]))
            for column, polynomial in enumerate(_MOS_POLYNOMIALS.values())
        ]
        return DnsmosScores(*means)


def providers(device: DeviceName) -> list[str]:
    """Where ONNX Runtime runs a model: on the GPU if there is one and the installed build can use it."""
    import onnxruntime

    on_gpu = device_of(device).type == "cuda" and ON_GPU in onnxruntime.get_available_providers()
    return [*([ON_GPU] if on_gpu else []), "CPUExecutionProvider"]


def windows(samples: Samples) -> list[NDArray[np.float32]]:
    """The fewest windows, [144,160] each, that cover samples [n] from the first to the last."""
    samples = np.clip(samples, -1.0, 1.0)
    if len(samples) <= WINDOW:
        return [np.resize(samples, WINDOW)]
    count = -(-len(samples) // WINDOW)
    starts = np.linspace(0, len(samples) - WINDOW, count).round().astype(int)
    return [samples[start : start + WINDOW] for start in starts]
