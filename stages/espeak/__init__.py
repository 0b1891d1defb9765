"""Text to phonemes by espeak-ng, from the package piper-tts."""

from stages.espeak.clauses import SpokenClause, spoken_clauses

__all__ = ["SpokenClause", "spoken_clauses"]
