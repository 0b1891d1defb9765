"""Training samples from turns: one family after another."""

from stages.compose.config import ComposeConfig
from stages.compose.families import FAMILIES, VERSION, compose

__all__ = ["FAMILIES", "VERSION", "ComposeConfig", "compose"]
