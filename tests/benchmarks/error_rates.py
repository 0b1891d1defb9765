"""Pooled word and character error rates."""

from collections.abc import Sequence

from stages.word_errors import errors


def error_rate(language: str, pairs: Sequence[tuple[str, str]]) -> tuple[str, float]:
    """("WER" or "CER", rate) over all (reference, hypothesis) pairs of one language."""
    counts = [count for reference, hypothesis in pairs if (count := errors(language, reference, hypothesis))]
    kind = "CER" if any(count.characters for count in counts) else "WER"
    return kind, sum(count.wrong for count in counts) / sum(count.of for count in counts)
