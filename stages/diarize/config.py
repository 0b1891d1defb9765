"""Settings of diarize."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stages.stage import Config


class DiarizeConfig(Config):
    """Which models listen, how speakers are told apart, and how turns are cut."""

    existing: Literal["use", "ignore"] = Field(
        "ignore", description="use: take the RTTM, STM, CTM or JSONL beside a recording instead of listening"
    )
    segmentation: str = Field(
        "package:pyannote-segmentation-3.0", description="pyannote segmentation model (powerset)"
    )
    embedding: str = Field("package:campplus-zh-en", description="CAM++ speaker embedding")
    vad: str = Field("package:silero-vad", description="voice activity, for the gate and for split channels")
    pipeline: str | None = Field(
        None, description="any pyannote pipeline (`hub:org/name`, `file:/dir`) in place of the two models"
    )
    same_speaker: float = Field(
        0.91,
        gt=0,
        description="how alike two voices must be to be one speaker: 1 is as alike as pieces of one voice "
        "are among each other; higher finds more speakers",
    )
    min_speakers: int | None = Field(None, ge=1, description="fewest speakers of a recording, if known")
    max_speakers: int | None = Field(None, ge=1, description="most speakers of a recording, if known")
    window_minutes: float = Field(
        10, ge=1, description="minutes; longer recordings are heard in windows cut at pauses"
    )
    merge_pause: float = Field(
        0.5, ge=0, description="seconds; a speaker's pauses up to this long stay inside the turn"
    )
    min_turn: float = Field(0.4, ge=0, description="seconds; shorter turns are set aside")
    max_turn: float = Field(30, ge=2, description="seconds; longer turns are split where they are quietest")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_speakers and self.max_speakers and self.min_speakers > self.max_speakers:
            raise ValueError(f"min_speakers {self.min_speakers} is over max_speakers {self.max_speakers}")
        if self.min_turn > self.max_turn / 2:
            raise ValueError(f"min_turn {self.min_turn} is over half of max_turn {self.max_turn}")
        return self

    @property
    def models(self) -> tuple[str, ...]:
        if self.pipeline:
            return (self.pipeline, self.vad, self.embedding)
        return (self.segmentation, self.embedding, self.vad)
