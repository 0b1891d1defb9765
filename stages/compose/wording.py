"""Styles of speech, and changes of style, in the words of an instruction."""

from collections.abc import Mapping

from schemas.errors import DataError
from schemas.style import SCALES, WHISPERED
from stages.compose.config import ComposeConfig
from stages.compose.instructions import ALOUD, PART_WORDS, WHISPER_WORDS
from stages.compose.labels import Labels
from stages.compose.source import written_as

Words = Mapping[str, str]
"""Label or change -> its wording in one language."""

_CHANGES = {
    "rate": ("slower", "faster"),
    "pitch": ("lower", "higher"),
    "liveliness": ("flatter", "livelier"),
    "loudness": ("softer", "louder"),
}
"""Measure -> the names of a change down and up its scale."""


def words_of(language: str | None, config: ComposeConfig) -> Words:
    """The words of a language (ISO 639-1), or those of English if it has none."""
    return config.style_words.get(written_as(language)) or config.style_words["en"]


def style_in_words(labels: Labels, words: Words) -> str:
    """What is not normal about some speech, such as "slowly and softly"; empty if nothing is."""
    styles = [words[labels[name]] for name in SCALES if labels.get(name, "normal") != "normal"]
    styles += _whispered(labels, words)
    if emotion := labels.get("emotion"):
        styles.append(words["emotion"].replace("{emotion}", emotion))
    return words["and"].join(styles)


def _whispered(labels: Labels, words: Words) -> list[str]:
    """The wording of a whisper; empty without one, or in a language that has no words for it."""
    named = labels.get("voicing") == WHISPERED and words.keys() >= WHISPER_WORDS
    return [words[WHISPERED]] if named else []


def dialect_in_words(name: str | None, words: Words) -> str | None:
    """A dialect or language, such as "in Cantonese"; None for none, and one without a name in these words."""
    if name is None:
        return None
    if name in words:
        return words[name]
    is_code = name.isascii() and len(name) <= 3  # ISO 639, which is no name
    return None if is_code or "dialect" not in words else words["dialect"].replace("{dialect}", name)


def change_in_words(before: Labels, after: Labels, words: Words) -> str:
    """What changes, such as "faster and louder"; empty if nothing does, as far as the labels are known."""
    changes = []
    for measure, scale in SCALES.items():
        a, b = before.get(measure), after.get(measure)
        if a is not None and b is not None and a != b:
            changes.append(words[_CHANGES[measure][scale.index(b) > scale.index(a)]])
    if _whispered(before, words) != _whispered(after, words):
        changes += _whispered(after, words) or [words[ALOUD]]
    emotion = after.get("emotion")
    if emotion and before.get("emotion") not in (None, emotion):
        changes.append(words["emotion"].replace("{emotion}", emotion))
    return words["and"].join(changes)


def parts_in_words(first: Labels, changes: list[str], words: Words) -> str:
    """Several parts, such as "the first part slowly, then faster, then louder".

    Raises DataError `no_instruction` if the recipe's words have none for parts.
    """
    if missing := sorted(PART_WORDS - words.keys()):
        raise DataError("no_instruction", f"compose.style_words has no {', '.join(missing)} in this language")
    start = words["first"].replace("{style}", style_in_words(first, words) or words["normal"])
    return start + "".join(words["then"].replace("{change}", change) for change in changes)
