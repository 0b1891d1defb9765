"""Texts that a model will be evaluated on must not be among those that it is trained on."""

from collections.abc import Iterable, Iterator, Sequence

from schemas.recording import Problem
from stages.select.words import words_of


class EvaluationPrompts:
    """Prompts as runs of words that no kept text may share."""

    def __init__(self, prompts: Iterable[str], words: int) -> None:
        """`words` in a row are shared words; a shorter prompt must be the whole text."""
        self._words = words
        self._runs: set[str] = set()
        self._short: set[str] = set()
        for prompt in map(words_of, prompts):
            if len(prompt) < words:
                self._short.add(" ".join(prompt))
            self._runs.update(_runs(prompt, words))
        self._short.discard("")

    def shared(self, text: str, turn: int | None = None) -> Problem | None:
        """Why a text is set aside; None where it shares nothing."""
        words = words_of(text)
        whole = " ".join(words)
        found = whole if whole in self._short else None
        found = found or next((run for run in _runs(words, self._words) if run in self._runs), None)
        if found is None:
            return None
        return Problem("evaluation_prompt", f"an evaluation prompt holds `{found}` too", turn)


def _runs(words: Sequence[str], length: int) -> Iterator[str]:
    return (" ".join(words[n : n + length]) for n in range(len(words) - length + 1))
