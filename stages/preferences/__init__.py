"""Preference pairs: from ratings, from a judge, and by contrast to real answers."""

from stages.preferences.config import PairsConfig
from stages.preferences.pair import VERSION

__all__ = ["VERSION", "PairsConfig"]
