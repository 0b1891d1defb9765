"""What is to be said, by whom, and how well."""

from typing import Literal

from pydantic import Field, model_validator

from stages.stage import Config
from stages.synthesize.answers import AnswersConfig
from stages.synthesize.checks import CheckConfig
from stages.synthesize.speech import SpeechConfig
from stages.synthesize.styles import OWN, PLAIN, STYLES, StyleConfig


class SynthesizeConfig(Config):
    conversations: tuple[str, ...] = Field(
        (), description='JSON lines or Parquet of conversations, `{"messages": [{role, content}, ..]}` a row'
    )
    answers: AnswersConfig | None = Field(
        None, description="an OpenAI-compatible server that answers last questions (null: none is asked)"
    )
    speech: SpeechConfig = Field(SpeechConfig(), description="voices, and the server that speaks if any")
    speak: tuple[Literal["human", "assistant"], ...] = Field(
        ("human", "assistant"), description="of the last question and its answer, whose is spoken"
    )
    characters_max: int = Field(1000, ge=1, description="longest message that is spoken, characters")
    pause: float = Field(0.6, ge=0.1, description="seconds between question and answer")
    styles: dict[str, StyleConfig] = Field(
        STYLES,
        description="label -> how to speak so: slow, fast, low, high, flat, lively, soft, or an emotion",
    )
    style_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of spoken answers whose halves are said in two styles, for `controlled`; of those "
        "that have a place to be cut in two",
    )
    reference: str = Field(
        "The quick brown fox jumps over the lazy dog, and everybody in the garden laughs about it.",
        description="a sentence by which each voice is known, in the voices' language",
    )
    embedding: str = Field("package:campplus-zh-en", description="CAM++ speaker embedding, to know voices by")
    checks: CheckConfig = Field(CheckConfig(), description="thresholds, applied when the data is packed")

    def style(self, name: str) -> StyleConfig:
        return OWN if name == PLAIN else self.styles[name]

    @model_validator(mode="after")
    def _styles_that_can_be_spoken(self) -> "SynthesizeConfig":
        for label, style in self.styles.items():
            if label in (PLAIN, "normal", "neutral"):
                raise ValueError(f"`{label}` is the voice's own way and no style")
            if style.instructions and not self.speech.server:
                raise ValueError(f"style `{label}`: only a server (`speech.server`) takes instructions")
            if not style.makes(label):
                raise ValueError(
                    f"nothing in style `{label}` makes it so: slow and fast need a `speed`, low and high "
                    "`semitones`, soft a `gain_db`, everything else `instructions` to a server"
                )
        return self
