"""What a turn must be like to be kept."""

from functools import cached_property
from typing import Literal

from pydantic import Field

from stages.select.duplicates import DuplicatesConfig
from stages.stage import Config

Scalar = bool | int | float | str


class SelectConfig(Config):
    """Defaults for real speech of all kinds: calls and meetings mostly stay, made-up text mostly goes."""

    seconds_min: float | None = Field(1.0, description="shortest turn, seconds")
    seconds_max: float | None = Field(60.0, description="longest turn, seconds")
    words_min: int | None = Field(
        1, description="fewest words; two characters make one in languages written without spaces"
    )
    languages: tuple[str, ...] | None = Field(None, description="ISO 639-1 codes to keep, such as [en, zh]")
    language_probability_min: float | None = Field(
        0.3, description="least certainty of the language, 0..1; short turns seldom reach much more"
    )
    phantom: bool = Field(
        True, description="set aside text that recognisers are known to make up on silence or music"
    )
    average_log_probability_min: float | None = Field(
        -1.0, description="least mean log probability of the transcript's tokens"
    )
    no_speech_probability_max: float | None = Field(
        0.8, description="highest probability, by the recogniser, that nobody speaks"
    )
    compression_ratio_max: float | None = Field(
        2.4, description="highest text length over zlib length: text that repeats itself"
    )
    repeated_share_max: float | None = Field(
        0.3, description="highest share of words in repeated n-grams, 0..1"
    )
    characters_per_second_min: float | None = Field(1.0, description="fewest characters a second")
    characters_per_second_max: float | None = Field(35.0, description="most characters a second")
    longest_word_max: int | None = Field(40, description="letters of the longest word")
    words_per_second_min: float | None = Field(0.5, description="slowest speech, words a second of speech")
    words_per_second_max: float | None = Field(8.0, description="fastest speech, words a second of speech")
    dnsmos_overall_min: float | None = Field(
        1.5, description="least DNSMOS overall quality, 1..5; 2.5 for clean sets, 3 for voices to copy"
    )
    speech_share_min: float | None = Field(0.4, description="least share of the turn with speech in it, 0..1")
    clipped_share_max: float | None = Field(0.01, description="highest share of samples at full scale, 0..1")
    loudness_min: float | None = Field(-60.0, description="quietest turn, LUFS")
    sidecar: dict[str, Scalar | tuple[Scalar, ...]] = Field(
        {},
        description="field of the sidecar (dots for nesting) -> value or values to keep; "
        "recordings that lack the field are set aside",
    )
    consent: Literal["required"] | None = Field(
        None,
        description="`required` keeps only recordings whose sidecar's `consent` is true, yes or given",
    )
    allow: tuple[str, ...] | None = Field(
        None,
        description="recordings, by path or by the 16 digits of their key, and turns, by key, that alone are "
        "kept; a path of a text file, a line for each, stands for a long list",
    )
    deny: tuple[str, ...] = Field((), description="as `allow`: what is set aside")
    pii: bool = Field(
        False, description="set aside text that holds an e-mail address, a phone number or a card number"
    )
    evaluation_prompts: tuple[str, ...] = Field(
        (),
        description="JSONL or text files of prompts that a model will be evaluated on: turns and texts that "
        "share words with them are set aside",
    )
    evaluation_words: int = Field(
        8, ge=2, description="words in a row that count as shared; prompts with fewer are looked for whole"
    )

    duplicates: DuplicatesConfig = Field(
        DuplicatesConfig(), description="removal of duplicate recordings and texts"
    )

    @cached_property
    def denied(self) -> frozenset[str]:
        return frozenset(self.deny)

    @cached_property
    def allowed(self) -> frozenset[str] | None:
        return None if self.allow is None else frozenset(self.allow)
