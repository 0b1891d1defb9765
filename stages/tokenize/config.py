"""Settings of the tokenize stage."""

from typing import Literal

from pydantic import Field

from stages.gpu import DeviceConfig


class TokenizeConfig(DeviceConfig):
    """The tokenizer and its models."""

    tokenizer: Literal["whisper", "step-audio"] = Field(
        "whisper",
        description="`whisper`: codes from the encoder states of a Whisper model; "
        "`step-audio`: the codes of the released Step-Audio-Tokenizer",
    )
    model: str = Field(
        "package:whisper-base", description="whisper: the Whisper model, in CTranslate2 format"
    )
    codebooks: str = Field(
        "package:whisper-codes",
        description="whisper: trained codes or k-means codebooks, made for the same model",
    )
    checkpoint: str = Field(
        "hub:stepfun-ai/Step-Audio-Tokenizer", description="step-audio: the released directory"
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32",
        description="step-audio: precision of matrix products; all but float32 change some codes",
    )
    dither: int | None = Field(
        None,
        ge=0,
        description="step-audio: seed of the dither that the original adds for the linguistic codes, the "
        "same for every utterance; without a seed none is added",
    )

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that the stage loads."""
        return (self.checkpoint,) if self.tokenizer == "step-audio" else (self.model, self.codebooks)
