"""The measures of a turn that a recipe can limit."""

import re
from collections.abc import Callable
from operator import attrgetter

from schemas.script import UNSPACED_LETTER
from schemas.speech_marks import without_marks
from schemas.turn import AnnotatedTurn


def _measure(path: str) -> Callable[[AnnotatedTurn], float | None]:
    """Reads a column of a turn by `column.name`; None if the turn doesn't have the column."""
    column, name = path.split(".")
    return lambda turn: None if (value := getattr(turn, column)) is None else attrgetter(name)(value)


def _word_count(turn: AnnotatedTurn) -> float | None:
    if turn.transcript is None:
        return None
    spaced, unspaced = UNSPACED_LETTER.subn(" ", without_marks(turn.transcript.text))
    return len(re.findall(r"\w+(?:['’-]\w+)*", spaced)) + unspaced / 2


LIMITS: dict[str, tuple[str, str, Callable[[AnnotatedTurn], float | None]]] = {
    "seconds_min": ("too_short", "the turn's length in seconds", lambda turn: turn.turn.seconds),
    "seconds_max": ("too_long", "the turn's length in seconds", lambda turn: turn.turn.seconds),
    "voice_similarity_min": (
        "several_voices",
        "the least similarity of the voice within the turn",
        lambda turn: turn.turn.voice_similarity,
    ),
    "words_min": ("few_words", "the number of words", _word_count),
    "compression_ratio_max": (
        "repetitive",
        "the compression ratio",
        _measure("transcript.compression_ratio"),
    ),
    "repeated_share_max": (
        "repeats_itself",
        "the share of repeated words",
        _measure("transcript.repeated_share"),
    ),
    "no_speech_probability_max": (
        "no_speech_likely",
        "the probability that nobody speaks",
        _measure("transcript.no_speech_probability"),
    ),
    "language_probability_min": (
        "language_unsure",
        "the probability of the language",
        _measure("transcript.language_probability"),
    ),
    "average_log_probability_min": (
        "text_unsure",
        "the mean log probability of the text",
        _measure("transcript.average_log_probability"),
    ),
    "disagreement_max": (
        "recognisers_disagree",
        "the error rate between the two recognisers",
        _measure("transcript.disagreement"),
    ),
    "known_text_error_max": (
        "other_text",
        "the error rate of what is heard against the text that came with the recording",
        _measure("transcript.known_text_error"),
    ),
    "characters_per_second_min": (
        "little_text",
        "the number of characters a second",
        _measure("transcript.characters_per_second"),
    ),
    "characters_per_second_max": (
        "much_text",
        "the number of characters a second",
        _measure("transcript.characters_per_second"),
    ),
    "longest_word_max": (
        "long_word",
        "the longest word's number of letters",
        _measure("transcript.longest_word"),
    ),
    "words_per_second_min": ("slow", "the number of words a second", _measure("assessment.words_per_second")),
    "words_per_second_max": ("fast", "the number of words a second", _measure("assessment.words_per_second")),
    "speech_share_min": ("little_speech", "the share of speech", _measure("assessment.speech_share")),
    "words_outside_speech_max": (
        "words_without_speech",
        "the share of words where no speech is heard",
        _measure("assessment.words_outside_speech"),
    ),
    "dnsmos_overall_min": ("poor_quality", "DNSMOS overall", _measure("assessment.dnsmos_overall")),
    "clipped_share_max": ("clipped", "the share of clipped samples", _measure("assessment.clipped_share")),
    "loudness_min": ("quiet", "the loudness in LUFS", _measure("assessment.loudness_lufs")),
}
"""Field of the config -> reason code, description and function of the measure, in the order of checks."""
