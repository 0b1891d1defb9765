"""The limits of songs, which as speech would be bad: long vowels, few words, repeated lines."""

from pydantic import Field

from stages.stage import Config


class SingingConfig(Config):
    """Limits in place of those of the same names in `select`, whose other limits apply to songs as well.

    A song is a recording whose sidecar says `singing: true` or has `lyrics`, or whose turns a companion with
    lyrics (LRC) states; a sidecar with `singing: false` says that it is none.
    """

    known_text_error_max: float | None = Field(
        0.6,
        description="maximum error rate of what is heard against the lyrics; recognisers mishear songs, but "
        "hear hardly anything of lyrics that are not sung",
    )
    voice_similarity_min: float | None = Field(
        0.3, description="as in `select`; a voice differs more from itself when it sings high and low"
    )
    language_probability_min: float | None = Field(0.1, description="as in `select`")
    average_log_probability_min: float | None = Field(None, description="as in `select`")
    no_speech_probability_max: float | None = Field(None, description="as in `select`")
    compression_ratio_max: float | None = Field(None, description="as in `select`; songs repeat lines")
    repeated_share_max: float | None = Field(None, description="as in `select`; songs repeat lines")
    characters_per_second_min: float | None = Field(0.3, description="as in `select`")
    words_per_second_min: float | None = Field(0.2, description="as in `select`; sung vowels are long")
    words_per_second_max: float | None = Field(12.0, description="as in `select`; rap is fast")
    dnsmos_overall_min: float | None = Field(
        1.2, description="as in `select`; DNSMOS was made for speech and takes accompaniment for noise"
    )
    speech_share_min: float | None = Field(
        0.1, description="as in `select`; voice activity detection hears little of what is sung as speech"
    )
    words_outside_speech_max: float | None = Field(None, description="as in `select`")
