"""Letters at the sound that says them: a second loss, from which a model with random weights learns to hear.

An `asr` sample has a target for each word and none for its speech. Here the letters of its text are also
predicted at the codes, in their order and wherever they fit, by CTC (Graves et al., 2006), as hybrid
recognisers do (Kim et al., 2017), after a middle layer (Lee and Watanabe, 2021). The head's rows of single
letters predict them, and that of padding predicts none, so the model has no weights more.

S stretches of speech have P positions together; K are the letters that there are, the last of them is none.
On CUDA the gradient of CTC is summed in no fixed order, so runs there are equal to rounding only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from schemas.vocabulary import Modality
from stages.train.batch import Batch, HeardLetters, modality_of

FAMILY = "asr"


class Alphabet:
    """The ids that spell: those of single bytes, and padding for no letter."""

    def __init__(self, text_bytes: Mapping[int, bytes], vocabulary: Mapping[str, Any]) -> None:
        """`text_bytes`: the bytes of every text id; `vocabulary` is that section of a manifest."""
        self._bytes = text_bytes
        self._vocabulary = vocabulary
        single: dict[bytes, int] = {}
        for id in sorted(text_bytes):
            if len(text_bytes[id]) == 1:
                single.setdefault(text_bytes[id], id)
        self._numbers = {letter[0]: number for number, letter in enumerate(single)}
        self.ids_K = torch.tensor([*single.values(), vocabulary["specials"]["pad"]])

    def spelled(self, ids: Sequence[int]) -> tuple[int, ...]:
        """The letters of a text, lower-case and without marks, as numbers of the alphabet."""
        text = b"".join(self._bytes.get(id, b"") for id in ids).decode("utf-8", "ignore").casefold()
        words = "".join(letter if letter.isalnum() or letter == "'" else " " for letter in text).split()
        return tuple(self._numbers[byte] for byte in " ".join(words).encode() if byte in self._numbers)

    def heard(self, batch: Batch) -> HeardLetters:
        """The speech of the batch's `asr` samples, up to the position after it, with its letters."""
        tokens_T = batch.tokens_BL.flatten()
        document_T = batch.documents_BL.flatten().numpy()
        is_code_T = modality_of(tokens_T, self._vocabulary).numpy() != Modality.TEXT
        targets_N, document_N = batch.targets_N.numpy(), batch.document_N.numpy()
        stretches, letters = [], []
        for number, document in enumerate(batch.documents):
            if document.family != FAMILY:
                continue
            spelled = self.spelled(targets_N[document_N == number].tolist())
            at = np.flatnonzero(is_code_T & (document_T == number))
            if spelled and len(at):
                # The last letter may only be clear once the speech has ended.
                behind = [at[-1] + 1] if document_T[at[-1] + 1 : at[-1] + 2] == number else []
                stretches.append(np.append(at, behind).astype(np.int64))
                letters.append(spelled)
        at_P = np.concatenate(stretches) if stretches else np.zeros(0, np.int64)
        return HeardLetters(torch.from_numpy(at_P), tuple(map(len, stretches)), tuple(letters))


def letter_losses(x_PD: Tensor, head_KD: Tensor, heard: HeardLetters) -> Tensor:
    """loss_S: the negative log-probability of each stretch's letters, per letter; 0 for those with more
    letters than fit. x_PD are states of a layer, and head_KD the rows of the head for the alphabet."""
    if not heard.sizes:
        return (x_PD.sum() + head_KD.sum()).float() * torch.zeros(0, device=x_PD.device)
    logits_PK = F.rms_norm(x_PD, x_PD.shape[-1:]).to(head_KD.dtype) @ head_KD.T
    log_probabilities_PK = logits_PK.float().log_softmax(-1)
    counts_S = torch.tensor([len(letters) for letters in heard.letters])
    losses_S: Tensor = F.ctc_loss(
        pad_sequence(log_probabilities_PK.split(heard.sizes)),
        torch.tensor([letter for letters in heard.letters for letter in letters], device=x_PD.device),
        torch.tensor(heard.sizes),
        counts_S,
        blank=len(head_KD) - 1,
        reduction="none",
        zero_infinity=True,
    )
    return losses_S / counts_S.to(losses_S.device)
