"""Settings of the diarize stage."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from stages.gpu import DeviceConfig


class DiarizeConfig(DeviceConfig):
    """The models, and how to distinguish speakers and cut turns."""

    existing: Literal["use", "ignore"] = Field(
        "ignore",
        description="use: take turns from an STM, JSONL, TextGrid, ELAN, RTTM, CTM, VTT, SRT or LRC file "
        "next to the recording, if any",
    )
    synthesized: Literal["check", "trust"] = Field(
        "check",
        description="turns of synthesized speech (recordings whose sidecar has `synthesis`): check: measure "
        "whether each has one voice; trust: each was spoken by one",
    )
    segmentation: str = Field(
        "package:pyannote-segmentation-3.0", description="pyannote segmentation model (powerset)"
    )
    embedding: str = Field("package:campplus-zh-en", description="CAM++ speaker embedding")
    vad: str = Field(
        "package:silero-vad", description="voice activity detection model, for silence and split channels"
    )
    pipeline: str | None = Field(
        None,
        description="a pyannote pipeline or NeMo's Sortformer (`hub:org/name`, `file:/dir`) to use instead "
        "of segmentation",
    )
    same_speaker: float = Field(
        0.91,
        gt=0,
        description="similarity from which two voices are one speaker, relative to the similarity within a "
        "voice (1); higher values find more speakers",
    )
    min_speakers: int | None = Field(None, ge=1, description="minimum number of speakers, if known")
    max_speakers: int | None = Field(None, ge=1, description="maximum number of speakers, if known")
    window_minutes: float = Field(
        10, ge=1, description="minutes; longer recordings are processed in windows cut at pauses"
    )
    merge_pause: float = Field(
        0.5, ge=0, description="seconds; pauses of a speaker up to this length don't end a turn"
    )
    min_turn: float = Field(0.4, ge=0, description="seconds; shorter turns are set aside")
    max_turn: float = Field(30, ge=2, description="seconds; longer turns are split at their quietest point")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_speakers and self.max_speakers and self.min_speakers > self.max_speakers:
            raise ValueError(f"min_speakers {self.min_speakers} is over max_speakers {self.max_speakers}")
        if self.min_turn > self.max_turn / 2:
            raise ValueError(f"min_turn {self.min_turn} is over half of max_turn {self.max_turn}")
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that the stage loads."""
        if self.pipeline:
            return (self.pipeline, self.vad, self.embedding)
        return (self.segmentation, self.embedding, self.vad)

    def content(self) -> dict[str, Any]:
        content = super().content()
        if self.synthesized == "check":  # as before there was a choice: fingerprints stay
            del content["synthesized"]
        return content
