"""Direct preference optimisation on the text of answers (Step-Audio-AQAA, section on alignment).

Audio tokens are excluded from the sums that are compared, because preferring one answer's codes to the
other's pulls text and audio apart. The drift of their log-probabilities is measured anyway.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.vocabulary import Modality
from stages.train.config import DPOConfig

TEXT = int(Modality.TEXT)
MODALITIES = len(Modality)


@dataclass(frozen=True)
class Sides:
    """Sums over the answers of P pairs, by pair, side (chosen, rejected) and modality (M)."""

    logps_P2M: Tensor
    """Log-probabilities of the targets."""
    tokens_P2M: Tensor
    """Number of targets."""


def side_sums(losses_N: Tensor, side_N: Tensor, modality_N: Tensor, pairs: int) -> Sides:
    """Sums of the targets' log-probabilities. `side_N` is 2 p for a target in the chosen answer of pair p,
    and 2 p + 1 for one in the rejected answer."""
    cell_N = side_N * MODALITIES + modality_N
    cells = pairs * 2 * MODALITIES
    logps = torch.zeros(cells, dtype=losses_N.dtype, device=losses_N.device).index_add(0, cell_N, -losses_N)
    tokens = torch.bincount(cell_N, minlength=cells).to(losses_N.dtype)
    return Sides(logps.view(pairs, 2, MODALITIES), tokens.view(pairs, 2, MODALITIES))


@dataclass(frozen=True)
class Compared:
    """Comparison of the sides of a batch of P pairs."""

    loss: Tensor
    """This batch's part of the mean over all pairs of the step."""
    margin_P: Tensor
    """beta * (gain of the chosen answer's log-probability over the reference - that of the rejected)."""
    text_gain_P2: Tensor
    """Log-probability of the text of both sides, minus the reference's."""
    audio_drift_P2: Tensor
    """The same per audio token: drift that the masked loss doesn't control."""


def compare(
    policy: Sides, reference_P2M: Tensor, config: DPOConfig, pairs: float, chosen_tokens: float
) -> Compared:
    """-log sigmoid(margin), plus the anchor: the cross entropy of the chosen answers.

    `pairs` and `chosen_tokens` are totals of the whole step (`anchor_tokens` of all its batches), so that the
    parts of all ranks and accumulation steps add up. With length normalisation a side's sum is divided by its
    number of unmasked tokens.
    """
    counts_M = _unmasked(policy, config)
    gain_P2M = policy.logps_P2M - reference_P2M
    scores_P2 = (gain_P2M * counts_M).sum(-1)
    if config.length_normalised:
        scores_P2 = scores_P2 / (policy.tokens_P2M * counts_M).sum(-1).clamp(min=1)
    margin_P = config.beta * (scores_P2[:, 0] - scores_P2[:, 1])
    loss = -F.logsigmoid(margin_P).sum() / pairs
    if config.anchor:
        chosen = (policy.logps_P2M[:, 0] * counts_M).sum()
        loss = loss - config.anchor * chosen / chosen_tokens
    audio_tokens_P2 = policy.tokens_P2M[:, :, TEXT + 1 :].sum(-1)
    return Compared(
        loss,
        margin_P.detach(),
        gain_P2M[:, :, TEXT].detach(),
        (gain_P2M[:, :, TEXT + 1 :].sum(-1) / audio_tokens_P2.clamp(min=1)).detach(),
    )


def anchor_tokens(sides: Sides, config: DPOConfig) -> float:
    """Number of tokens of chosen answers in the anchor."""
    return float((sides.tokens_P2M[:, 0] * _unmasked(sides, config)).sum())


def _unmasked(sides: Sides, config: DPOConfig) -> Tensor:
    """1 for each modality that contributes to the loss, 0 for masked ones."""
    audio = 0.0 if config.mask_audio else 1.0
    return torch.tensor([1.0, audio, audio], dtype=sides.logps_P2M.dtype, device=sides.logps_P2M.device)
