"""How long an answer takes."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.inference.answer_vocoder import AudioChunk

if TYPE_CHECKING:
    from stages.train.sampling import Answer, CodeGroup, TextPiece


@dataclass
class Latency:
    """Seconds since the question arrived; None for what hasn't come (yet)."""

    first_text: float | None = None
    first_sound: float | None = None
    total: float | None = None
    _began: float = field(default_factory=time.monotonic, repr=False)

    def record(self, event: "TextPiece | CodeGroup | AudioChunk | Answer") -> None:
        from stages.train.sampling import Answer, TextPiece

        elapsed = round(time.monotonic() - self._began, 3)
        if isinstance(event, TextPiece) and self.first_text is None:
            self.first_text = elapsed
        elif isinstance(event, AudioChunk) and self.first_sound is None:
            self.first_sound = elapsed
        elif isinstance(event, Answer):
            self.total = elapsed

    def as_json(self) -> dict[str, float | None]:
        return {"first_text": self.first_text, "first_sound": self.first_sound, "total": self.total}

    def __str__(self) -> str:
        seconds = {name.replace("_", " "): value for name, value in self.as_json().items()}
        return ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items() if value is not None)
