"""Metrics of a step, written as a JSON line per step and to TensorBoard's files."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from schemas.vocabulary import Modality
from stages.train.batch import Batch
from stages.train.dpo import Compared
from stages.train.folder import flat, written

MODALITIES = [("modalities", modality.name.lower()) for modality in Modality]
PAIRS = [
    ("dpo", name)
    for name in (
        "margin",
        "accuracy",
        "text_gain_chosen",
        "text_gain_rejected",
        "audio_drift_chosen",
        "audio_drift_rejected",
    )
]


class Means:
    """Unweighted mean losses of a step's targets, per modality and per family, and DPO's measures of pairs.

    The sums stay on the device until they are read, so that they can be added up over processes.
    """

    def __init__(self, families: Sequence[str], device: torch.device) -> None:
        self._families = {family: n for n, family in enumerate(families)}
        self._names = [*MODALITIES, *(("families", family) for family in families), *PAIRS]
        self._split = len(MODALITIES), len(families), len(PAIRS)
        self.sums_2K = torch.zeros(2, len(self._names), dtype=torch.float64, device=device)
        """Sum and count of each measure."""

    def add_tokens(self, losses_N: Tensor, modality_N: Tensor, batch: Batch) -> None:
        modalities_2K, families_2K, _ = self.sums_2K.split(self._split, dim=1)
        family_D = torch.tensor([self._families[document.family] for document in batch.documents])
        family_N = family_D.to(losses_N.device)[batch.document_N]
        for sums_2K, kind_N in ((modalities_2K, modality_N), (families_2K, family_N)):
            is_of_KN = kind_N == torch.arange(sums_2K.shape[1], device=kind_N.device)[:, None]
            sums_2K[0] += losses_N.double().where(is_of_KN, 0).sum(-1)
            sums_2K[1] += is_of_KN.sum(-1)

    def add_pairs(self, compared: Compared) -> None:
        margin_P = compared.margin_P
        values_PK = torch.stack(
            [
                margin_P,
                (margin_P > 0).float(),
                *compared.text_gain_P2.unbind(-1),
                *compared.audio_drift_P2.unbind(-1),
            ],
            dim=-1,
        )
        pairs_2K = self.sums_2K.split(self._split, dim=1)[2]
        pairs_2K[0] += values_PK.double().sum(0)
        pairs_2K[1] += len(margin_P)

    @property
    def targets(self) -> float:
        return float(self.sums_2K[1, : len(MODALITIES)].sum())

    def by_name(self) -> dict[str, dict[str, float]]:
        means: dict[str, dict[str, float]] = defaultdict(dict)
        for (group, name), total, count in zip(self._names, *self.sums_2K.tolist(), strict=True):
            if count:
                means[group][name] = total / count
        return dict(means)


class MetricsFile:
    """metrics.jsonl and TensorBoard's folder of a run that starts or resumes at step `first`. Lines of later
    steps, which a stopped run left behind, are dropped."""

    def __init__(self, path: Path, board: Path, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        kept = read_metrics(path)[:first] if path.exists() else []
        lines = "".join(json.dumps(metrics) + "\n" for metrics in kept)
        # A new file, so that whoever follows the old one notices the steps that are repeated.
        written(path, lambda partial: partial.write_text(lines, encoding="utf-8"))
        self._file = path.open("a", encoding="utf-8")
        self._board: Any = SummaryWriter(str(board), purge_step=first)

    def write(self, metrics: dict[str, Any]) -> None:
        self._file.write(json.dumps(metrics) + "\n")
        self._file.flush()
        for name, value in flat(metrics, separator="/").items():
            self._board.add_scalar(name, value, metrics["step"])

    def close(self) -> None:
        self._file.close()
        self._board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a metrics.jsonl."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]
