"""Settings of the select stage: the criteria for turns to be kept."""

from functools import cached_property
from typing import Literal

from pydantic import Field

from stages.select.duplicates import DuplicatesConfig
from stages.select.marks import TurnMark
from stages.select.singing import SingingConfig
from stages.stage import Config

Scalar = bool | int | float | str


class SelectConfig(Config):
    """The defaults suit all kinds of real speech: they keep most calls and meetings, and remove most
    hallucinated text."""

    seconds_min: float | None = Field(1.0, description="minimum length of a turn, in seconds")
    seconds_max: float | None = Field(60.0, description="maximum length of a turn, in seconds")
    voice_similarity_min: float | None = Field(
        0.5,
        description="minimum cosine between the voice in any piece of a turn, about 1.5 s, and in the rest "
        "of it; lower values let turns of several voices pass",
    )
    words_min: int | None = Field(
        1,
        description="minimum number of words; two characters count as one in languages without spaces",
    )
    languages: tuple[str, ...] | None = Field(
        None, description="languages to keep, as ISO 639-1 codes such as [en, zh] (null: all)"
    )
    language_probability_min: float | None = Field(
        0.3,
        description="minimum probability of the detected language, 0 to 1; it is low for most short turns",
    )
    phantom: bool = Field(
        True, description="set aside text that recognisers are known to hallucinate on silence or music"
    )
    average_log_probability_min: float | None = Field(
        -1.0, description="minimum mean log probability of the tokens of the transcript"
    )
    no_speech_probability_max: float | None = Field(
        0.8, description="maximum probability that nobody speaks, as estimated by the recogniser"
    )
    disagreement_max: float | None = Field(
        None,
        description="maximum error rate between the two recognisers of `transcribe`, 0 for the same words; "
        "turns that only one of them recognised pass (null: none)",
    )
    known_text_error_max: float | None = Field(
        None,
        description="maximum error rate of what is heard against the text that came with the recording, in a "
        "companion (with `transcribe.existing: check`) or in the sidecar (`lyrics`, `text`, `transcript`); 0 "
        "for the same words; turns without such a text pass (null: they aren't compared)",
    )
    compression_ratio_max: float | None = Field(
        2.4, description="maximum compression ratio of the text by zlib; repetitive text has a high one"
    )
    repeated_share_max: float | None = Field(
        0.3, description="maximum share of words in repeated n-grams, 0 to 1"
    )
    characters_per_second_min: float | None = Field(
        1.0, description="minimum number of characters per second"
    )
    characters_per_second_max: float | None = Field(
        35.0, description="maximum number of characters per second"
    )
    longest_word_max: int | None = Field(40, description="maximum length of a word, in letters")
    words_per_second_min: float | None = Field(0.5, description="minimum words per second of speech")
    words_per_second_max: float | None = Field(8.0, description="maximum words per second of speech")
    dnsmos_overall_min: float | None = Field(
        1.5,
        description="minimum DNSMOS overall quality, 1 to 5; 2.5 suits clean datasets, 3 voice cloning",
    )
    speech_share_min: float | None = Field(
        0.4, description="minimum share of the turn that is speech, 0 to 1"
    )
    words_outside_speech_max: float | None = Field(
        0.2,
        description="maximum share of words at times where voice activity detection hears no speech, 0 to 1; "
        "recognisers make up text where nobody speaks",
    )
    clipped_share_max: float | None = Field(
        0.01, description="maximum share of samples at full scale, 0 to 1"
    )
    loudness_min: float | None = Field(-60.0, description="minimum loudness, in LUFS")
    singing: SingingConfig | None = Field(
        None,
        description="limits of songs in place of those above (`{}` for the defaults); null: songs are judged "
        "as speech, and most are set aside",
    )
    heard: dict[str, tuple[str, ...]] = Field(
        {},
        description="ear of `quality.ears` -> the labels to keep, such as {sound: [Speech], dialect: "
        "[cantonese]}; turns in which it hears another, or several classifiers disagree, are set aside",
    )
    styles: Literal["confirmed"] | None = Field(
        None,
        description="`confirmed` sets aside turns that are heard in another style than they were synthesised "
        "in, or with another emotion than their sidecar claims; those of which nothing is heard pass",
    )
    sidecar: dict[str, Scalar | tuple[Scalar, ...]] = Field(
        {},
        description="field of the sidecar (with dots for nested fields) -> value or values to keep; "
        "recordings without the field are set aside",
    )
    consent: Literal["required"] | None = Field(
        None,
        description="`required` keeps only recordings whose sidecar has a `consent` of true, yes or given",
    )
    allow: tuple[str, ...] | None = Field(
        None,
        description="the only recordings and turns to keep: paths of recordings, their keys of 16 digits, or "
        "keys of turns; for a long list, the path of a text file with one entry per line",
    )
    deny: tuple[str, ...] = Field((), description="recordings and turns to set aside, listed as in `allow`")
    marks: tuple[TurnMark, ...] = Field(
        (),
        description="turns that somebody listened to: the path of the file that `browse --marks` writes. "
        "Turns marked as bad or of a wrong speaker are set aside, good ones kept whatever the thresholds "
        "are; corrected texts, speakers and languages replace those that were annotated",
    )
    pii: bool = Field(
        False, description="set aside text that contains an e-mail address, a phone number or a card number"
    )
    evaluation_prompts: tuple[str, ...] = Field(
        (),
        description="JSON Lines or text files of prompts that models will be evaluated on; turns and texts "
        "that share words with them are set aside",
    )
    evaluation_words: int = Field(
        8,
        ge=2,
        description="number of consecutive words that count as shared; a shorter prompt matches only a whole "
        "text",
    )

    duplicates: DuplicatesConfig = Field(
        DuplicatesConfig(), description="removal of duplicate recordings and texts"
    )

    def limit(self, field: str, sings: bool) -> float | None:
        """The limit of a field of `LIMITS` for a turn that is sung, or that is spoken."""
        value: float | None = getattr(self.singing if self.is_own_of_songs(field, sings) else self, field)
        return value

    def is_own_of_songs(self, field: str, sings: bool) -> bool:
        """Whether songs have a limit of their own for a field, and a turn is one."""
        return sings and self.singing is not None and field in SingingConfig.model_fields

    def compares_known_text(self, sings: bool) -> bool:
        """Whether what is heard in a turn is compared with the text that came with the recording."""
        return self.limit("known_text_error_max", sings) is not None

    @cached_property
    def denied(self) -> frozenset[str]:
        return frozenset(self.deny)

    @cached_property
    def marked(self) -> dict[str, list[TurnMark]]:
        """Id of a recording -> its marks."""
        found: dict[str, list[TurnMark]] = {}
        for mark in self.marks:
            found.setdefault(mark.recording, []).append(mark)
        return found

    @cached_property
    def allowed(self) -> frozenset[str] | None:
        return None if self.allow is None else frozenset(self.allow)
