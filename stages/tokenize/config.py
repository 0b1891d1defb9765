"""Settings of tokenize."""

from typing import Literal

from pydantic import Field

from stages.stage import Config


class TokenizeConfig(Config):
    """Which tokenizer makes the codes, from which files."""

    tokenizer: Literal["whisper"] = Field(
        "whisper", description="`whisper`: codes from the encoder states of a Whisper model"
    )
    model: str = Field("package:whisper-base", description="the Whisper model, in CTranslate2's format")
    codebooks: str = Field(
        "package:whisper-codebooks", description="codebooks that were fitted to this very model"
    )

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that the stage loads."""
        return self.model, self.codebooks
