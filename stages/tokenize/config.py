"""Settings of tokenize."""

from typing import Literal

from pydantic import Field

from stages.stage import Config


class TokenizeConfig(Config):
    """Which tokenizer makes the codes, from which files."""

    tokenizer: Literal["whisper", "step-audio"] = Field(
        "whisper",
        description="`whisper`: codes from the encoder states of a Whisper model; "
        "`step-audio`: those of the released Step-Audio-Tokenizer",
    )
    model: str = Field(
        "package:whisper-base", description="whisper: the Whisper model, in CTranslate2's format"
    )
    codebooks: str = Field(
        "package:whisper-codebooks", description="whisper: codebooks that were fitted to this very model"
    )
    checkpoint: str = Field(
        "hub:stepfun-ai/Step-Audio-Tokenizer", description="step-audio: the released directory"
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32",
        description="step-audio: how exactly matrices are multiplied; all but float32 change some codes",
    )
    dither: int | None = Field(
        None,
        ge=0,
        description="step-audio: seed of the faint noise that the original adds before the linguistic codes, "
        "drawn anew for every utterance; without a seed no noise is added",
    )

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that the stage loads."""
        return (self.checkpoint,) if self.tokenizer == "step-audio" else (self.model, self.codebooks)
