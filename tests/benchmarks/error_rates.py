"""Word and character error rates of many utterances together."""

from collections.abc import Sequence

from stages.evaluate.words import errors


def error_rate(language: str, pairs: Sequence[tuple[str, str]]) -> tuple[str, float]:
    """("WER" or "CER", rate) of (reference, heard) pairs of one language, over all of them together."""
    found = [counted for said, heard in pairs if (counted := errors(language, said, heard))]
    kind = "CER" if any(each.characters for each in found) else "WER"
    return kind, sum(each.wrong for each in found) / sum(each.of for each in found)
