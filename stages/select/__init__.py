"""Selection of the turns and texts to keep, with a reason for each one that is set aside."""

from stages.select.checks import VERSION, ThresholdResult, admit, select, would_keep
from stages.select.config import SelectConfig
from stages.select.duplicates import PERMUTATIONS, Item, Signature, duplicates, recording_item, text_item
from stages.select.evaluation import EvaluationPrompts
from stages.select.known_text import with_known_text
from stages.select.limits import LIMITS
from stages.select.marks import TurnCorrection, TurnMark, mark_of, parse_marks
from stages.select.personal import personal
from stages.select.sketches import Sketches, SketchIndex, sketches

__all__ = [
    "LIMITS",
    "PERMUTATIONS",
    "VERSION",
    "EvaluationPrompts",
    "Item",
    "SelectConfig",
    "Signature",
    "SketchIndex",
    "Sketches",
    "ThresholdResult",
    "TurnCorrection",
    "TurnMark",
    "admit",
    "duplicates",
    "mark_of",
    "parse_marks",
    "personal",
    "recording_item",
    "select",
    "sketches",
    "text_item",
    "with_known_text",
    "would_keep",
]
