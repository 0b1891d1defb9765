"""Marks in a text for what is heard besides words: laughter, breath, sighs, hesitation and pauses."""

import re
from collections.abc import Callable

LAUGHTER, BREATH, SIGH, HESITATION, PAUSE = "[Laughter]", "[Breathing]", "[Sigh]", "[Uhm]", "[Pause]"
"""As Step-Audio-EditX writes them, which has no mark for a pause."""

SPELLINGS = {
    LAUGHTER: "laughter laughing laughs laugh chuckle chuckles giggle giggles giggling 笑 笑声",
    BREATH: "breathing breath breathes inhale inhales exhale exhales gasp gasps 呼吸 呼吸声 吸气",
    SIGH: "sigh sighs sighing 叹气 叹息",
    HESITATION: "uhm um uh erm hesitation 呃 犹豫",
    PAUSE: "pause pauses 停顿",
}
"""Mark -> how transcripts write it, in brackets of any kind and in any case, or as `%hesitation`."""

_MARK_OF = {spelling: mark for mark, spellings in SPELLINGS.items() for spelling in spellings.split()}
_MARKED = re.compile(r"[\[(<{（【]\s*[%*~-]?([^\W\d_]+)[*~-]?\s*[\])>}）】]|(?<!\w)%([^\W\d_]+)")
_FILLER = re.compile(r"(?<![\w\[])(?:u+h+m*|u+m+|e+rm+|呃+)(?![\w\]])", re.IGNORECASE)
"""A hesitation that is written as a word."""


def with_marks(text: str) -> str:
    """A text with one spelling for each mark, and with marks for hesitations that it writes as words.

    What else stands in brackets stays as it is.
    """
    return _FILLER.sub(HESITATION, _replaced(text, lambda mark: mark))


def without_marks(text: str) -> str:
    """A text without its marks, however they are spelt; words that hesitate stay."""
    return " ".join(_replaced(text, lambda _: "").split())


def _replaced(text: str, replacement: Callable[[str], str]) -> str:
    def of(found: re.Match[str]) -> str:
        mark = _MARK_OF.get((found[1] or found[2]).casefold())
        return found[0] if mark is None else replacement(mark)

    return _MARKED.sub(of, text)
