"""What a step is measured by, and the file of it: a JSON line a step."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from torch import Tensor

from schemas.vocabulary import Modality
from stages.train.batch import Batch
from stages.train.dpo import Compared


class Means:
    """Mean losses of a step's targets, per modality and per family, unweighted; of pairs, what DPO did."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add_tokens(self, losses_N: Tensor, modality_N: Tensor, batch: Batch) -> None:
        for modality in Modality:
            self._add("modalities", modality.name.lower(), losses_N[modality_N == modality])
        document_N = batch.document_N
        families = [document.family for document in batch.documents]
        family_D = {family: n for n, family in enumerate(sorted(set(families)))}
        number_N = document_N.new_tensor([family_D[family] for family in families])[document_N]
        for family, n in family_D.items():
            self._add("families", family, losses_N[number_N == n])

    def add_pairs(self, compared: Compared) -> None:
        self._add("dpo", "margin", compared.margin_P)
        self._add("dpo", "accuracy", (compared.margin_P > 0).float())
        for side, name in enumerate(("chosen", "rejected")):
            self._add("dpo", f"text_gain_{name}", compared.text_gain_P2[:, side])
            self._add("dpo", f"audio_drift_{name}", compared.audio_drift_P2[:, side])

    def by_name(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for (group, name), (total, count) in self._sums.items():
            found[group][name] = total / count
        return dict(found)

    def _add(self, group: str, name: str, values: Tensor) -> None:
        if len(values):
            sums = self._sums[group, name]
            sums[0] += values.sum().item()
            sums[1] += len(values)


class MetricsFile:
    """metrics.jsonl of a run that goes on with step `first`: lines of later steps, which a stopped run left
    behind, are dropped."""

    def __init__(self, path: Path, first: int) -> None:
        kept = read_metrics(path)[:first] if path.exists() else []
        self._file = path.open("w", encoding="utf-8")
        for metrics in kept:
            self.write(metrics)

    def write(self, metrics: dict[str, Any]) -> None:
        self._file.write(json.dumps(metrics) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, but for one that was not written to its end."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]
