"""Preference pairs from ratings, from a judge, and from contrasts to real answers."""

from stages.preferences.config import PairsConfig
from stages.preferences.pair import VERSION

__all__ = ["VERSION", "PairsConfig"]
