"""The steps in order of worth: what is least known and matters most comes first."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    name: str
    """Of its module in `tests.gpu.check`, whose `measure` yields facts as it finds them."""
    seconds: float
    """After which it is stopped."""


STEPS = (
    Step("products", 50),
    Step("tokenizer", 70),
    Step("attention", 50),
    Step("sharded_step", 50),
    Step("training", 100),
    Step("vocoder", 40),
    Step("backbone", 30),
    Step("annotate", 40),
    Step("vocoder_training", 50),
)
