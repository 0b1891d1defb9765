"""What a voice of Kokoro is to say, as phonemes with marks: by the script of the text."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property

from schemas.errors import DataError, SetupError
from stages.synthesize.chinese_numbers import read_numbers
from stages.synthesize.espeak import AMERICAN, BRITISH, espeak_phonemes
from stages.synthesize.mandarin import HAN, Mandarin

LANGUAGES = {
    "a": ("American English", AMERICAN),
    "b": ("British English", BRITISH),
    "e": ("Spanish", "es"),
    "f": ("French", "fr"),
    "h": ("Hindi", "hi"),
    "i": ("Italian", "it"),
    "p": ("Brazilian Portuguese", "pt-br"),
    "z": ("Chinese", AMERICAN),
}
"""First letter of a voice -> its language, and the language of espeak-ng for words that aren't Chinese."""

PHONEMES_MAX = 509
"""Of one piece: a voice has a style for each length up to this."""

_CHINESE_MARKS = str.maketrans(
    {"、": ",", "。": ".", "—": ",", "–": ",", "~": ","} | dict.fromkeys('“”"「」『』《》〈〉【】‘’()', " ")
)
"""Those that NFKC leaves; the model knows `,;:.!?…`."""
_LATIN = re.compile(r"[A-Za-zÀ-ɏ][A-Za-zÀ-ɏ0-9'’&+.-]*(?:\s+[A-Za-zÀ-ɏ][A-Za-zÀ-ɏ0-9'’&+.-]*)*")
_EMOJI = re.compile("[\u2190-\u21ff\u2300-\u2bff\ufe0f\u200d\U0001f000-\U0001faff]+")
"""Pictures, arrows and what joins them."""
_SCRIPTS = {"h": ("DEVANAGARI",), "z": ("CJK",)}
"""Scripts of a language besides the Latin one."""

_SENTENCE_END = re.compile(r"[.!?…]+ ")
_CLAUSE_END = re.compile(r"[,;:]+ ")
_WORD_END = re.compile(r" ")


class Phonemes:
    """Turns text into phonemes. The dictionaries of Chinese are loaded once a text needs them."""

    def __call__(self, texts: Sequence[str], language: str) -> list[str | DataError]:
        """The phonemes of each text for a voice whose `language` is a key of `LANGUAGES`.

        A text with letters that the voice has no sounds for results in a DataError. Raises SetupError if
        espeak-ng or the packages for Chinese are not installed.
        """
        parts = [self._parts(_plain(text), language) for text in texts]
        latin = [text for each in parts if not isinstance(each, DataError) for text in each[1::2]]
        sounds = iter(espeak_phonemes(latin, LANGUAGES[language][1]))
        return [each if isinstance(each, DataError) else _filled(each, sounds) for each in parts]

    def _parts(self, text: str, language: str) -> list[str] | DataError:
        """Phonemes at even places, which may be empty, and text for espeak-ng at odd ones."""
        if foreign := _foreign(text, language):
            name = LANGUAGES[language][0]
            return DataError("not_spoken", f"a voice that speaks {name} can't say {foreign[:20]!r}")
        if not HAN.search(text):
            return ["", text, ""]
        text = read_numbers(text)
        chinese = [self._mandarin.phonemes(part.translate(_CHINESE_MARKS)) for part in _LATIN.split(text)]
        parts = chinese[:1]
        for latin, after in zip(_LATIN.findall(text), chinese[1:], strict=True):
            parts += [latin, after]
        return parts

    @cached_property
    def _mandarin(self) -> Mandarin:
        try:
            return Mandarin()
        except ModuleNotFoundError as error:
            raise SetupError(
                f"Chinese voices of kokoro need the package {error.name}, which is not installed: "
                "pip install 'aqaa-data[kokoro]'"
            ) from error


def _plain(text: str) -> str:
    """A text in the usual forms of its characters, without emoji, which espeak-ng would read out by name."""
    return _EMOJI.sub(" ", unicodedata.normalize("NFKC", text))


def _foreign(text: str, language: str) -> str:
    """The first letters of a text that are of a script that the language isn't written in."""
    scripts = ("LATIN", "MODIFIER", "FEMININE", "MASCULINE", *_SCRIPTS.get(language, ()))
    letters = (c if c.isalpha() and not unicodedata.name(c, "").startswith(scripts) else " " for c in text)
    return ("".join(letters).split() or [""])[0]


def _filled(parts: Sequence[str], sounds: Iterator[str]) -> str | DataError:
    filled = [next(sounds) if index % 2 else part for index, part in enumerate(parts)]
    phonemes = re.sub(r"\.{2,}", "…", " ".join(filled))
    phonemes = " ".join(re.sub(r"\s*([,.;:!?…]+)", r"\1 ", phonemes).split())
    if not any(c.isalpha() for c in phonemes):
        return DataError("not_spoken", "there are no sounds in it")
    return phonemes


def pieces(phonemes: str) -> list[str]:
    """Phonemes in pieces of up to `PHONEMES_MAX`, cut in halves at the end of a sentence, clause or word."""
    length = len(phonemes)
    if length <= PHONEMES_MAX:
        return [phonemes]
    cut = length // 2
    for ends in (_SENTENCE_END, _CLAUSE_END, _WORD_END):
        fit = [end.end() for end in ends.finditer(phonemes) if length <= 4 * end.end() <= 3 * length]
        if fit:
            cut = min(fit, key=lambda end: abs(end - length / 2))
            break
    return [*pieces(phonemes[:cut].strip()), *pieces(phonemes[cut:].strip())]
