"""Which sample families to build, their limits, and the wording of instructions."""

from typing import Literal

from pydantic import Field, field_validator

from stages.compose import instructions
from stages.compose.instructions import Phrasings
from stages.compose.labels import LabelsConfig
from stages.stage import Config

Family = Literal[
    "continuation",
    "interleaved",
    "asr",
    "tts",
    "tqta",
    "aqta",
    "taqta",
    "aqtaa",
    "dialect",
    "controlled",
    "sing",
    "nextline",
    "lyrics",
    "songname",
    "replay",
]


class ComposeConfig(Config):
    families: tuple[Family, ...] = Field(
        ("continuation", "asr", "tts", "aqtaa"),
        description="sample families to build from the kept turns and texts",
    )
    asr_speakers: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="speakers whose turns become `asr` samples, by their names in the recordings, such as "
        "[human] of synthesized conversations (null: all)",
    )
    tts_speakers: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="speakers whose turns become `tts` samples, such as [assistant] (null: all)",
    )
    continuation_seconds_min: float = Field(
        5.0, ge=0, description="minimum length of a turn for a `continuation` sample, in seconds"
    )
    clause_seconds_min: float = Field(
        1.0,
        ge=0,
        description="minimum length of a text or audio span of an `interleaved` sample, in seconds of speech",
    )
    clause_pause_seconds: float = Field(
        0.4,
        gt=0,
        description="minimum silence between two words that ends a clause without punctuation, in seconds",
    )
    controlled_spans_max: int = Field(
        2,
        ge=2,
        le=5,
        description="maximum number of consecutive turns of one speaker in a `controlled` sample; how many, "
        "from 2 on, is drawn for each. For answers of synthesised voices see `synthesize.style_spans_max`",
    )
    controlled_gap_seconds_max: float = Field(
        3.0, ge=0, description="maximum silence between two turns of a `controlled` sample, in seconds"
    )
    controlled_speaker_margin_min: float | None = Field(
        0.2,
        description="minimum by which the voices of all turns of a `controlled` sample are more like their "
        "speaker's than like any other's, as a difference of cosines",
    )
    marks: bool = Field(
        False,
        description="write marks in the texts of samples for what is heard besides words, such as [Laughter] "
        "and [Pause], where a given transcript or the times of words tell of it; false: as it came",
    )
    nextline_gap_seconds_max: float = Field(
        5.0, ge=0, description="maximum silence between the two lines of a `nextline` sample, in seconds"
    )
    labels: LabelsConfig = Field(LabelsConfig(), description="when a turn is fast, slow, loud and so on")
    asr_instructions: Phrasings = Field(
        instructions.ASR,
        description="instructions of `asr` samples: language -> phrasings, one of which is chosen for each "
        "sample; languages that are not listed use `en`",
    )
    tts_instructions: Phrasings = Field(
        instructions.TTS,
        description="instructions of `tts` samples, in the format of `asr_instructions`",
    )
    tts_style_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="fraction of `tts` samples whose instruction names the speaking style given by the "
        "labels, 0 to 1",
    )
    styled_tts_instructions: Phrasings = Field(
        instructions.STYLED_TTS,
        description="instructions of `tts` samples that name a style, in the format of `asr_instructions`; "
        "`{style}` is replaced by the style",
    )
    controlled_reading_instructions: Phrasings = Field(
        instructions.CONTROLLED_READING,
        description="instructions of `controlled` samples without a question, in the format of "
        "`asr_instructions`; `{change}` is replaced by what changes",
    )
    controlled_answer_instructions: Phrasings = Field(
        instructions.CONTROLLED_ANSWER,
        description="instructions of `controlled` samples that answer a question, in the format of "
        "`asr_instructions`; `{change}` is replaced by what changes",
    )
    controlled_parts_reading_instructions: Phrasings = Field(
        instructions.CONTROLLED_PARTS_READING,
        description="the same for samples of more than two turns; `{parts}` is replaced by the style of the "
        "first part and what changes from part to part",
    )
    controlled_parts_answer_instructions: Phrasings = Field(
        instructions.CONTROLLED_PARTS_ANSWER,
        description="the same for samples of more than two turns that answer a question",
    )
    dialect_instructions: Phrasings = Field(
        instructions.DIALECT,
        description="instructions of `dialect` samples, in the format of `asr_instructions` and in the "
        "language of the question; `{dialect}` is replaced by the dialect or language of the answer",
    )
    sing_instructions: Phrasings = Field(
        instructions.SING, description="instructions of `sing` samples, in the format of `asr_instructions`"
    )
    nextline_instructions: Phrasings = Field(
        instructions.NEXTLINE,
        description="instructions of `nextline` samples, in the format of `asr_instructions`",
    )
    lyrics_instructions: Phrasings = Field(
        instructions.LYRICS,
        description="instructions of `lyrics` samples, in the format of `asr_instructions`",
    )
    songname_instructions: Phrasings = Field(
        instructions.SONGNAME,
        description="instructions of `songname` samples, in the format of `asr_instructions`",
    )
    style_words: dict[str, dict[str, str]] = Field(
        instructions.WORDS,
        description="names of styles and changes in instructions: language -> label or change -> wording; "
        "`first`, `then` and `normal` are for samples of more than two turns, names of dialects and "
        "languages and `dialect` for those that ask for one, `whispered` and `aloud` for whispers",
    )
    system_prompts: Phrasings = Field(
        {},
        description="system prompts of conversations: language -> prompts, one of which is chosen for each "
        "sample; empty: no system prompt",
    )

    @field_validator("style_words")
    @classmethod
    def _all_keys_present(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for language, words in {"en": {}, **value}.items():
            optional = instructions.PART_WORDS | instructions.DIALECT_WORDS | instructions.WHISPER_WORDS
            if missing := sorted(instructions.WORDS["en"].keys() - optional - words.keys()):
                raise ValueError(f"{language} is missing {', '.join(missing)}")
        return value
