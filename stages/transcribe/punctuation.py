"""Punctuation for the text of recognisers that write none, by a model that classifies words."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from schemas.errors import SetupError
from stages.transcribe.languages import WITHOUT_SPACES

MARKS = {
    **{mark: mark for mark in ".,?!:;"},
    **{"PERIOD": ".", "COMMA": ",", "QUESTION": "?", "EXCLAMATION": "!", "COLON": ":", "SEMICOLON": ";"},
}
"""Label of a model -> the mark after the word; words with other labels get none."""
_WIDE = dict(zip(".,?!:;", "。，？！：；", strict=True))
_ENDS = (".", "?", "!")
_WORDS = 100
"""Words that are classified at once; turns of half a minute have fewer."""


class Punctuation:
    """A token classification model of transformers, on the CPU, whose labels are marks.

    Raises SetupError if transformers is not installed, or the model can't be loaded or has other labels.
    """

    def __init__(self, path: Path) -> None:
        try:
            from transformers import AutoModelForTokenClassification, AutoTokenizer
        except ImportError as error:
            raise SetupError(
                "transcribe.punctuation needs the library transformers: pip install 'aqaa-data[hub]'"
            ) from error
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
            self._model = AutoModelForTokenClassification.from_pretrained(path, local_files_only=True).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise SetupError(f"transcribe.punctuation can't load {path}: {error}") from error
        labels = self._model.config.id2label
        self._marks = {int(n): MARKS.get(label.upper(), "") for n, label in labels.items()}
        if not any(self._marks.values()):
            raise SetupError(
                f"transcribe.punctuation: the labels of {path} are {', '.join(labels.values())}; none "
                f"is a mark ({' '.join(MARKS)})"
            )
        self._lock = Lock()

    def restore(self, words: Sequence[str], language: str) -> list[str]:
        """The words with marks after them, and capitals at the starts of sentences if they have none at all.

        Words that have a mark already are returned unchanged.
        """
        if any(word.rstrip().endswith((*_WIDE, *_WIDE.values())) for word in words):
            return list(words)
        marks = [m for k in range(0, len(words), _WORDS) for m in self._classify(words[k : k + _WORDS])]
        if language in WITHOUT_SPACES:
            return [word + _WIDE.get(mark, "") for word, mark in zip(words, marks, strict=True)]
        lower = all(word == word.lower() for word in words)
        starts = [True, *(mark in _ENDS for mark in marks)]
        return [
            (_capitalised(word) if lower and start else word) + mark
            for word, mark, start in zip(words, marks, starts, strict=False)
        ]

    def _classify(self, words: Sequence[str]) -> list[str]:
        """The mark after each word: that of its last token."""
        import torch

        encoded = self._tokenizer(
            [word.strip() for word in words], is_split_into_words=True, return_tensors="pt"
        )
        with self._lock, torch.inference_mode():
            labels = self._model(**encoded).logits[0].argmax(-1).tolist()
        marks = [""] * len(words)
        for word, label in zip(encoded.word_ids(), labels, strict=True):
            if word is not None:
                marks[word] = self._marks[label]
        return marks


def _capitalised(word: str) -> str:
    space = len(word) - len(word.lstrip())
    return word[: space + 1].upper() + word[space + 1 :]
