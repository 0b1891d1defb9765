"""Decontamination: prompts that models are evaluated on must not be in the training data."""

from collections.abc import Iterable, Iterator, Sequence

from schemas.recording import Problem
from stages.select.words import words_of


class EvaluationPrompts:
    """Evaluation prompts as n-grams of words that no kept text may contain."""

    def __init__(self, prompts: Iterable[str], words: int) -> None:
        """`words` is the length of the n-grams. A shorter prompt matches only a text that equals it."""
        self._words = words
        self._ngrams: set[str] = set()
        self._short: set[str] = set()
        for prompt in map(words_of, prompts):
            if len(prompt) < words:
                self._short.add(" ".join(prompt))
            self._ngrams.update(_ngrams(prompt, words))
        self._short.discard("")

    def shared(self, text: str, turn: int | None = None) -> Problem | None:
        """The reason to set aside a text that shares words with a prompt, else None."""
        words = words_of(text)
        whole = " ".join(words)
        match = whole if whole in self._short else None
        match = match or next((ngram for ngram in _ngrams(words, self._words) if ngram in self._ngrams), None)
        if match is None:
            return None
        return Problem("evaluation_prompt", f"an evaluation prompt holds `{match}` too", turn)


def _ngrams(words: Sequence[str], length: int) -> Iterator[str]:
    return (" ".join(words[n : n + length]) for n in range(len(words) - length + 1))
