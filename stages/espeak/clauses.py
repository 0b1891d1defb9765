"""Clauses of texts as espeak-ng says them, in a process of its own: it is licensed under the GPL."""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from schemas.errors import SetupError

SECONDS_MAX = 60
"""Of one run; a thousand texts take one second."""


class SpokenClause(NamedTuple):
    phonemes: str
    """IPA. Words of another language stand between names in brackets: (en)wiːkˈɛnd(fr)."""
    mark: str
    """Punctuation at the end, or nothing."""


def spoken_clauses(texts: Sequence[str], language: str) -> list[list[SpokenClause]]:
    """The clauses of each text. `language` is a language of espeak-ng.

    Raises SetupError if espeak-ng is not installed or fails.
    """
    if not texts:
        return []
    program = Path(__file__).with_name("program.py")
    command = [sys.executable, "-I", "-S", str(program), str(_piper_folder())]
    lines = "\n".join(json.dumps([language, text]) for text in texts)
    try:
        ran = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"espeak-ng took over {SECONDS_MAX} s for {len(texts)} texts") from error
    answers = ran.stdout.splitlines()
    if ran.returncode or len(answers) != len(texts):
        log = (ran.stderr.strip().splitlines() or ["it says nothing"])[-1][:200]
        raise SetupError(f"espeak-ng of the package piper-tts failed: {log}; reinstall it")
    return [[SpokenClause(phonemes, mark) for phonemes, mark, _ in json.loads(answer)] for answer in answers]


def _piper_folder() -> Path:
    package = find_spec("piper")
    if package is None or package.origin is None or not list(Path(package.origin).parent.glob("espeakb*.so")):
        raise SetupError(
            "phonemes, except those of Chinese, come from espeak-ng, which is not installed: "
            "pip install piper-tts, the package that carries it"
        )
    return Path(package.origin).parent
