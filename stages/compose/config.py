"""Which families, their bounds, and the words that a model is asked with."""

from typing import Literal

from pydantic import Field, field_validator

from stages.compose import instructions
from stages.compose.instructions import Phrasings
from stages.compose.labels import LabelsConfig
from stages.stage import Config

Family = Literal[
    "continuation", "interleaved", "asr", "tts", "tqta", "aqta", "taqta", "aqtaa", "controlled", "replay"
]


class ComposeConfig(Config):
    families: tuple[Family, ...] = Field(
        ("continuation", "asr", "tts", "aqtaa"), description="what to make of the kept turns and texts"
    )
    continuation_seconds_min: float = Field(5.0, ge=0, description="shortest turn for continuation, seconds")
    clause_seconds_min: float = Field(
        1.0, ge=0, description="shortest text or audio span of `interleaved`, seconds of speech"
    )
    clause_pause_seconds: float = Field(
        0.4, gt=0, description="silence between two words that ends a clause without punctuation, seconds"
    )
    controlled_gap_seconds_max: float = Field(
        3.0, ge=0, description="longest silence between the two turns of `controlled`, seconds"
    )
    labels: LabelsConfig = Field(LabelsConfig(), description="when a turn is fast, slow, loud and so on")
    asr_instructions: Phrasings = Field(
        instructions.ASR, description="language -> phrasings, one drawn for each sample; en serves the rest"
    )
    tts_instructions: Phrasings = Field(instructions.TTS, description="as asr_instructions")
    tts_style_share: float = Field(
        0.0, ge=0, le=1, description="share of tts samples that ask for the style that the labels name, 0..1"
    )
    styled_tts_instructions: Phrasings = Field(
        instructions.STYLED_TTS, description="as asr_instructions, {style} stands for the style"
    )
    controlled_reading_instructions: Phrasings = Field(
        instructions.CONTROLLED_READING,
        description="for `controlled` without a question, {change} stands for what changes",
    )
    controlled_answer_instructions: Phrasings = Field(
        instructions.CONTROLLED_ANSWER, description="for `controlled` that answers a question"
    )
    style_words: dict[str, dict[str, str]] = Field(
        instructions.WORDS, description="language -> label or change -> what an instruction calls it"
    )
    system_prompts: Phrasings = Field(
        {}, description="language -> system prompts of answers, one drawn for each sample; empty: none"
    )

    @field_validator("style_words")
    @classmethod
    def _all_words(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for language, words in {"en": {}, **value}.items():
            if lacking := sorted(instructions.WORDS["en"].keys() - words.keys()):
                raise ValueError(f"{language} lacks {', '.join(lacking)}")
        return value
