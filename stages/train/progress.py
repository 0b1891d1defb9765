"""How a training reports its progress."""

from collections.abc import Callable
from typing import Any

ProgressCallback = Callable[[dict[str, Any]], None]
"""Called with the metrics of a step."""
