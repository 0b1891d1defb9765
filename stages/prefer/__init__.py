"""Preference pairs: from ratings, from a judge, and by contrast to real answers."""

from stages.prefer.config import PreferConfig
from stages.prefer.pair import VERSION

__all__ = ["VERSION", "PreferConfig"]
