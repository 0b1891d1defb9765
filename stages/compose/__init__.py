"""Compose training samples of every family from turns and texts."""

from stages.compose.config import ComposeConfig, Family
from stages.compose.controlled import passages
from stages.compose.families import FAMILIES, VERSION, Kind, compose
from stages.compose.labels import Labels, dialect_in, label, outcomes, synthetic_voice, unheard_style
from stages.compose.marked_text import marked
from stages.compose.singing import lines_in_a_row
from stages.compose.source import SampleSource, SourceSpan, of_turns

__all__ = [
    "FAMILIES",
    "VERSION",
    "ComposeConfig",
    "Family",
    "Kind",
    "Labels",
    "SampleSource",
    "SourceSpan",
    "compose",
    "dialect_in",
    "label",
    "lines_in_a_row",
    "marked",
    "of_turns",
    "outcomes",
    "passages",
    "synthetic_voice",
    "unheard_style",
]
