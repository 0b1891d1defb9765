"""Telemetry of libraries: off, unless the user has switched it on in the environment."""

import os

OFF = {
    "PYANNOTE_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Environment variable -> the value that switches off the telemetry of its library."""


def disable_telemetry() -> None:
    """Set the variables that the user hasn't set. Call it before the libraries are imported."""
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
