"""Text to phonemes by espeak-ng, in the symbols that Kokoro was trained with."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from schemas.errors import SetupError

AMERICAN = "en-us"
BRITISH = "en-gb-x-rp"

SECONDS_MAX = 60
"""Of one run; a thousand texts take one second."""

_TITLE = re.compile(r"\b(Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs)\.(?= )")
"""Abbreviations whose stop espeak-ng takes for the end of a sentence, though it knows them without it."""
_INITIAL = re.compile(r"\b([A-Z])\.(?= ?[A-Z])")
_PRICE = re.compile(r"([$£€])(\d[\d,]*(?:\.\d+)?)( (?:thousand|million|billion|trillion)\b)?")
_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros"}

_SYMBOLS = (("eɪ", "A"), ("aɪ", "I"), ("ɔɪ", "Y"), ("aʊ", "W"), ("tʃ", "ʧ"), ("dʒ", "ʤ"))
"""Diphthongs and affricates of espeak-ng, each of which is a single symbol of the model."""
_OTHER = (("oʊ", "O"), ("əʊ", "Q"), ("ts", "ʦ"), ("dz", "ʣ"))
_ENGLISH = (
    *(("ʔn̩", "tᵊn"), ("n̩", "ᵊn"), ("l̩", "ᵊl"), ("m̩", "ᵊm"), ("ʔ", "t"), ("ɚ", "əɹ"), ("ɐ", "ə")),
    *(("r", "ɹ"), ("x", "k"), ("ç", "k"), ("ɬ", "l"), ("ʲ", ""), ("\u0303", "")),
)
_AMERICAN = (
    *(("oʊ", "O"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ɾ", "T"), ("ː", "")),
    *(("o", "ɔ"), ("e", "A")),
)
_BRITISH = (("əʊ", "Q"), ("eə", "ɛː"), ("iə", "ɪə"), ("o", "ɔ"), ("e", "ɛ"))
_RULES = {AMERICAN: _SYMBOLS + _ENGLISH + _AMERICAN, BRITISH: _SYMBOLS + _ENGLISH + _BRITISH}


def espeak_phonemes(texts: Sequence[str], language: str) -> list[str]:
    """The phonemes of each text with its marks `,;:.!?…`; empty for a text without words.

    `language` is a language of espeak-ng. Raises SetupError if espeak-ng is not installed or fails.
    """
    if not texts:
        return []
    english = language in _RULES
    lines = [json.dumps([language, _expanded(text) if english else text]) for text in texts]
    program = Path(__file__).with_name("espeak_program.py")
    command = [sys.executable, "-I", "-S", str(program), str(_piper_folder())]
    try:
        ran = subprocess.run(
            command, input="\n".join(lines), capture_output=True, text=True, timeout=SECONDS_MAX
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"espeak-ng took over {SECONDS_MAX} s for {len(texts)} texts") from error
    answers = ran.stdout.splitlines()
    if ran.returncode or len(answers) != len(texts):
        log = (ran.stderr.strip().splitlines() or ["it says nothing"])[-1][:200]
        raise SetupError(f"espeak-ng of the package piper-tts failed: {log}; reinstall it")
    return [_joined(json.loads(answer), language) for answer in answers]


def _piper_folder() -> Path:
    package = find_spec("piper")
    if package is None or package.origin is None or not list(Path(package.origin).parent.glob("espeakb*.so")):
        raise SetupError(
            "the voices of kokoro speak languages other than Chinese with espeak-ng, which is not installed: "
            "pip install piper-tts, the package that carries it"
        )
    return Path(package.origin).parent


def _expanded(text: str) -> str:
    """English with abbreviations, initials and prices as espeak-ng reads them right."""
    text = _INITIAL.sub(r"\1 ", _TITLE.sub(r"\1", text))
    return _PRICE.sub(lambda found: f"{found[2]}{found[3] or ''} {_CURRENCIES[found[1]]}", text)


def _joined(clauses: Sequence[tuple[str, str, bool]], language: str) -> str:
    parts = []
    for index, (phonemes, mark, _) in enumerate(clauses):
        # What ends neither in a mark nor with the text ended in an ellipsis.
        mark = mark or ("…" if index < len(clauses) - 1 else "")
        if sounds := _symbols(phonemes, language):
            parts.append(sounds + mark)
    return " ".join(parts)


def _symbols(phonemes: str, language: str) -> str:
    # Words of another language stand between names in brackets: (en)wiːkˈɛnd(fr).
    sounds = re.sub(r"\([^)]*\)|-", "", phonemes)
    for theirs, ours in _RULES.get(language, _SYMBOLS + _OTHER):
        sounds = sounds.replace(theirs, ours)
    return " ".join(sounds.split())
