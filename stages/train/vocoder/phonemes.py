"""Text to phonemes by the program espeak-ng (GPL, so it runs as a separate process)."""

import re
import shutil
import subprocess
import unicodedata

from schemas.errors import SetupError

SECONDS = 60.0
"""Limit for a clause."""


class Phonemizer:
    """Raises SetupError if espeak-ng is not installed."""

    def __init__(self, language: str) -> None:
        """`language` is a voice of espeak-ng, such as en-us."""
        program = shutil.which("espeak-ng")
        if program is None:
            raise SetupError(
                "the preset `voice` learns from spoken sentences, whose phonemes come from the program "
                "espeak-ng, which is not installed: install the package espeak-ng of your system"
            )
        self._command = [program, "-q", "--ipa", "-v", language, "--stdin"]

    def phonemes(self, text: str) -> str:
        """IPA with the punctuation of the text, one character per phoneme or mark."""
        spoken = ""
        for clause, marks in re.findall(r"([^,;:.?!]+)([,;:.?!]*)", text):
            if clause.strip():
                spoken += self._of_clause(clause.strip()) + marks[:1] + " "
        return unicodedata.normalize("NFD", spoken.strip())

    def _of_clause(self, clause: str) -> str:
        ran = subprocess.run(
            self._command, input=clause, capture_output=True, text=True, timeout=SECONDS, encoding="utf-8"
        )
        if ran.returncode:
            raise SetupError(f"espeak-ng failed on {clause[:40]!r}: {ran.stderr.strip()[:200]}")
        # Marks such as (fr) surround words of other languages.
        return " ".join(re.sub(r"\([^)]+\)", "", ran.stdout).split())
