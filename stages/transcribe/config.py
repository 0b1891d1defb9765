"""Settings of the transcribe stage."""

from typing import Literal

from pydantic import Field

from stages.stage import Config


class TranscribeConfig(Config):
    model: str = Field("package:whisper-base", description="faster-whisper model (CTranslate2 files)")
    language: str | None = Field(None, description="ISO 639-1 code of all speech; none: heard turn by turn")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where the model runs")
    compute_type: Literal["float32", "float16", "bfloat16", "int8", "int8_float16", "int8_float32"] = Field(
        "int8", description="precision of the model; float16 or int8_float16 on a GPU"
    )
    beam: int = Field(5, ge=1, le=20, description="hypotheses kept while decoding")
    batch: int = Field(4, ge=1, le=64, description="windows of 30 s decoded at once")
    chinese_script: Literal["simplified", "traditional", "keep"] = Field(
        "simplified", description="characters that Chinese text is written in"
    )
    existing: Literal["use", "ignore"] = Field(
        "ignore",
        description="use: text of a file beside the recording (STM, CTM, JSONL) replaces the model's",
    )

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model,)
