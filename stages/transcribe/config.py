"""Settings of the transcribe stage."""

from typing import Literal

from pydantic import Field

from stages.stage import Config


class TranscribeConfig(Config):
    """The recognition model, and how to run it."""

    model: str = Field("package:whisper-base", description="faster-whisper model (CTranslate2 files)")
    language: str | None = Field(
        None, description="ISO 639-1 code of all speech; none: detect it for each turn"
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="device that the model runs on")
    compute_type: Literal["float32", "float16", "bfloat16", "int8", "int8_float16", "int8_float32"] = Field(
        "int8", description="precision of the model; use float16 or int8_float16 on a GPU"
    )
    beam: int = Field(5, ge=1, le=20, description="beam size")
    batch: int = Field(4, ge=1, le=64, description="windows of 30 s per batch")
    chinese_script: Literal["simplified", "traditional", "keep"] = Field(
        "simplified", description="script of Chinese text"
    )
    existing: Literal["use", "ignore"] = Field(
        "ignore",
        description="use: take the text of the file that states the turns, and words of a CTM, if any",
    )

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that the stage loads."""
        return (self.model,)
