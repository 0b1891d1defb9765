"""Annotated turns for tests of pack, as annotate writes them."""

from schemas.recording import Codes, DecodedAudio, QualityMeasures, Transcript, Turn
from schemas.turn import AnnotatedTurn

DECODED = DecodedAudio(
    seconds=600.0,
    declared_seconds=600.0,
    container="wav",
    codec="pcm_s16le",
    sample_rate=8000,
    channels=2,
    tracks=2,
    channel_mode="split",
    loudness_lufs=-27.0,
    peak_dbfs=-3.0,
    dc_offset=0.0,
    clipped_share=0.0,
    gain_db=0.0,
    notes=(),
    sha256="0" * 64,
)


def a_turn(
    start=0.0,
    end=4.0,
    speaker="A",
    text="I have lived here all my life",
    index=0,
    track=0,
    overlapped=False,
    language="en",
    groups=33,
    recording="calls/one.wav",
    sidecar=None,
    problem=None,
    transcript=True,
    words=(),
    sings=False,
    known_text=None,
    source="model",
    **measures,
):
    """A good turn, except where arguments say otherwise; measures are given by the name of their field."""

    def with_defaults(**defaults):
        return {name: measures.pop(name, value) for name, value in defaults.items()}

    transcript_measures = with_defaults(
        language_probability=0.98,
        average_log_probability=-0.2,
        no_speech_probability=0.02,
        compression_ratio=1.1,
        repeated_share=0.0,
        characters_per_second=14.0,
        longest_word=7,
        phantom=False,
        disagreement=None,
        known_text_error=None,
    )
    quality_measures = with_defaults(
        dnsmos_overall=2.9,
        dnsmos_signal=3.2,
        dnsmos_background=3.5,
        clipped_share=0.0,
        speech_share=0.9,
        words_per_second=2.5,
        pitch_median_hz=180.0,
        pitch_range_semitones=6.0,
        loudness_lufs=-27.0,
        words_outside_speech=0.0,
        voiced_share=None,
        heard=(),
    )
    assert not measures, f"no such measure: {measures}"
    transcribed = Transcript(
        text=text,
        language=language,
        words=tuple(words),
        source=source,
        known_text=known_text,
        **transcript_measures,
    )
    return AnnotatedTurn(
        recording=recording,
        index=index,
        metadata=sidecar or {},
        decoded=DECODED,
        turn=Turn(start, end, speaker, track, overlapped),
        transcript=transcribed if transcript else None,
        assessment=QualityMeasures(**quality_measures),
        codes=Codes(
            tuple((7 * n + index) % 1024 for n in range(2 * groups + 1)),
            tuple((11 * n + index) % 4096 for n in range(3 * groups + 2)),
        ),
        stage="transcribe" if problem else None,
        problem=problem,
        sings=sings,
        uri=f"s3://bucket/{recording}",
    )


def two_who_talk(name, turns, each, every=5.0, seconds=4.5):
    """Alternating turns of two speakers, one every `every` seconds; `each(n)` gives arguments of the n-th."""
    return [
        a_turn(
            start=every * n,
            end=every * n + seconds,
            index=n,
            speaker="AB"[n % 2],
            recording=name,
            **each(n),
        )
        for n in range(turns)
    ]
