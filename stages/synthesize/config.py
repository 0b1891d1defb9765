"""What is to be said, by whom, and how well."""

from typing import Literal

from pydantic import Field

from stages.stage import Config
from stages.synthesize.answers import AnswersConfig
from stages.synthesize.checks import CheckConfig
from stages.synthesize.speech import SpeechConfig


class SynthesizeConfig(Config):
    conversations: tuple[str, ...] = Field(
        (), description='JSON lines or Parquet of conversations, `{"messages": [{role, content}, ..]}` a row'
    )
    answers: AnswersConfig | None = Field(
        None, description="an OpenAI-compatible server that answers last questions (null: none is asked)"
    )
    speech: SpeechConfig = SpeechConfig()
    speak: tuple[Literal["human", "assistant"], ...] = Field(
        ("human", "assistant"), description="of the last question and its answer, whose is spoken"
    )
    characters_max: int = Field(1000, ge=1, description="longest message that is spoken, characters")
    pause: float = Field(0.6, ge=0.1, description="seconds between question and answer")
    reference: str = Field(
        "The quick brown fox jumps over the lazy dog, and everybody in the garden laughs about it.",
        description="a sentence by which each voice is known, in the voices' language",
    )
    embedding: str = Field("package:campplus-zh-en", description="CAM++ speaker embedding, to know voices by")
    checks: CheckConfig = Field(CheckConfig(), description="thresholds, applied when the data is packed")
