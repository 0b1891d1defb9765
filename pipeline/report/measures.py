"""The measures of turns that histograms are drawn of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A measure of turns, with the range of its histogram."""

    column: str
    title: str
    unit: str
    low: float
    high: float
    bins: int = 40


MEASURES = (
    Measure("seconds", "Length of turns", "s", 0, 30, 60),
    Measure("assessment.dnsmos_overall", "DNSMOS overall", "1 to 5", 1, 4.5),
    Measure("assessment.dnsmos_signal", "DNSMOS signal", "1 to 5", 1, 4.5),
    Measure("assessment.dnsmos_background", "DNSMOS background", "1 to 5", 1, 4.5),
    Measure("assessment.loudness_lufs", "Loudness", "LUFS", -60, 0),
    Measure("assessment.pitch_median_hz", "Median pitch", "Hz", 60, 400),
    Measure("assessment.pitch_range_semitones", "Pitch range", "semitones", 0, 24),
    Measure("assessment.words_per_second", "Speaking rate", "words a second", 0, 8),
    Measure("assessment.speech_share", "Share of speech", "0 to 1", 0, 1),
    Measure("assessment.sustained_share", "Share of sustained pitch, high in song", "0 to 1", 0, 1),
    Measure("assessment.voiced_share", "Share with a pitch, low in a whisper", "0 to 1", 0, 1),
    Measure("assessment.alpha_ratio_db", "Alpha ratio, high in a loud voice", "dB", -40, 10),
    Measure("transcript.average_log_probability", "Mean log probability of the text", "", -2, 0),
    Measure("transcript.disagreement", "Error rate between two recognisers", "", 0, 1),
    Measure("transcript.known_text_error", "Error rate against the given text", "", 0, 1),
    Measure("transcript.language_probability", "Certainty of the language", "0 to 1", 0, 1),
    Measure("transcript.compression_ratio", "Compression ratio of the text", "", 0, 3),
)
