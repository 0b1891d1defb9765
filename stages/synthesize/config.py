"""Settings of the synthesize stage."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from stages.stage import Config
from stages.synthesize.answers import AnswersConfig
from stages.synthesize.asking import SpokenInstructionsConfig
from stages.synthesize.changes import VoiceChangesConfig
from stages.synthesize.checks import CheckConfig
from stages.synthesize.kokoro import CHINESE_REFERENCE, language_of
from stages.synthesize.speech import SpeechConfig
from stages.synthesize.styles import PLAIN, STYLES, UNCHANGED, StyleConfig

EngineAlone = BeforeValidator(
    lambda value: {"engine": value} if isinstance(value, str) else value,
    json_schema_input_type=SpeechConfig | Literal["piper", "kokoro"],
)
"""The name of an engine stands for its settings with their defaults."""


class SynthesizeConfig(Config):
    conversations: tuple[str, ...] = Field(
        (),
        description='JSON Lines or Parquet files, a conversation per row: `{"messages": [{role, content}]}`, '
        "with `answer_style` if the last answer is to be spoken in one of `styles`, or a list of them for as "
        "many spans of it",
    )
    answers: AnswersConfig | None = Field(
        None,
        description="OpenAI-compatible server that answers final questions and rewrites answers (null: none)",
    )
    speech: Annotated[SpeechConfig, EngineAlone] = Field(
        SpeechConfig(), description="what speaks, and its voices; `kokoro` alone is `{engine: kokoro}`"
    )
    speak: tuple[Literal["human", "assistant"], ...] = Field(
        ("human", "assistant"), description="whose messages are spoken, of the last question and its answer"
    )
    characters_max: int = Field(1000, ge=1, description="maximum length of a spoken message, in characters")
    pause: float = Field(0.6, ge=0.1, description="seconds between question and answer")
    styles: dict[str, StyleConfig] = Field(
        STYLES,
        description="label (slow, fast, low, high, flat, lively, soft, loud or an emotion) -> its settings",
    )
    voice_changes: VoiceChangesConfig | None = Field(
        None,
        description="changed copies of the human voices, so that more people ask than there are voices "
        "(null: none)",
    )
    style_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of spoken answers that change their style on the way, for the family "
        "`controlled`, among answers that can be split at a sentence or clause",
    )
    style_spans_max: int = Field(
        2,
        ge=2,
        le=5,
        description="maximum number of spans of these answers, each in a style other than the one before; "
        "how many, from 2 on, is drawn for each",
    )
    takes: int = Field(
        1,
        ge=1,
        le=16,
        description="how often a server speaks each part in a style; the best take whose style is heard is "
        "kept. Packaged voices say a text always in the same way, so they have one take",
    )
    spoken_instructions: SpokenInstructionsConfig | None = Field(
        None,
        description="questions that ask aloud for a way to speak, which the answer then has (null: none)",
    )
    reference: str = Field(
        "The quick brown fox jumps over the lazy dog, and everybody in the garden laughs about it.",
        description="sentence that each voice speaks for its reference embedding, in the voices' language; "
        "Chinese voices of kokoro have one of their own",
    )
    embedding: str = Field(
        "package:campplus-zh-en", description="CAM++ speaker embedding model that compares voices"
    )
    checks: CheckConfig = Field(
        CheckConfig(), description="checks of synthesised turns, applied when the data is packed"
    )

    @property
    def measures_plain(self) -> bool:
        """Whether what is spoken in a style is spoken plainly too, to be compared with. Recordings of recipes
        without these keys stay those of earlier releases."""
        return self.spoken_instructions is not None or self.style_spans_max > 2 or self.takes > 1

    def style(self, name: str) -> StyleConfig:
        return UNCHANGED if name == PLAIN else self.styles[name]

    def reference_of(self, voice: str) -> str:
        """The reference sentence of a voice."""
        chinese = self.speech.engine == "kokoro" and language_of(voice) == "z"
        return CHINESE_REFERENCE if chinese else self.reference

    @model_validator(mode="after")
    def _check_styles(self) -> "SynthesizeConfig":
        # Of the default styles, a row may still ask for one; it is then set aside.
        are_used = self.styles != STYLES or self.style_share or self.spoken_instructions
        for label, style in self.styles.items():
            if label in (PLAIN, "normal", "neutral"):
                raise ValueError(f"`{label}` is not a style: it means the unmodified voice")
            if are_used and (refusal := self.speech.refusal(style)):
                raise ValueError(f"`styles.{label}`: {refusal}")
            if not style.matches(label):
                raise ValueError(
                    f"the settings of style `{label}` don't match its label: slow and fast need a `speed`, "
                    "low and high need `semitones`, soft and loud need a `gain_db`, emotions "
                    "need `speed` and `semitones`; these, dialects and other labels may have `instructions` "
                    "or a `tag` of a server instead"
                )
        if self.takes > 1 and not self.speech.server:
            raise ValueError(
                f"`takes`: {self.speech.engine} says a text always in the same way, so all takes would be "
                "alike: leave `takes` at 1, or name a server (`speech.server`)"
            )
        speeds = self.voice_changes.speeds if self.voice_changes else ()
        if self.speech.server and not self.speech.server.follows_speed and {*speeds, self.speech.speed} - {1}:
            raise ValueError(
                "`speech.speed` and `voice_changes.speeds` need a server that follows `speed`, and "
                "`speech.server.follows_speed` is false: leave them at 1"
            )
        return self
