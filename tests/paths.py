"""Where the tests find the repository and its small real recordings."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORDINGS = ROOT / "tests" / "recordings"
DEMO = RECORDINGS / "demo"
FIXTURES = ROOT / "tests" / "fixtures"
BENCHMARKS = ROOT / "tests" / "benchmarks"
