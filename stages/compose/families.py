"""Messages of each family, from kept turns (Step-Audio-AQAA, tables of the training data).

continuation  the speech goes on
asr           instruction, speech -> its text
tts           instruction, text -> its speech
aqtaa         spoken question -> text and speech of the answer, interleaved
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, get_args

from schemas.arrow import to_row
from schemas.errors import DataError
from schemas.layout import whole_groups
from schemas.sample import Clip, Draft, Message, Speech, Text
from schemas.turn import AnnotatedTurn, recording_key
from stages.compose.config import ComposeConfig, Family, Phrasings

VERSION = 1


def compose(family: Family, turns: Sequence[AnnotatedTurn], config: ComposeConfig) -> Draft:
    """One sample: of one turn for `continuation`, `asr` and `tts`, of question and answer for `aqtaa`.

    Raises DataError `no_text`, `no_codes` or `too_short` where the turns can't serve that family.
    """
    last = turns[-1]
    indices = "-".join(f"{turn.index:05d}" for turn in turns)
    key = f"{recording_key(last.recording)}-{indices}-{family}"
    return Draft(
        key=key,
        family=family,
        messages=_MESSAGES[family](key, turns, config),
        record={
            "speakers": sorted({turn.turn.speaker for turn in turns}),
            "language": last.transcript.language if last.transcript else None,
            "source": {
                "recording": last.recording,
                "start": min(turn.turn.start for turn in turns),
                "end": max(turn.turn.end for turn in turns),
                "sample_rate": last.decoded.sample_rate,
                "channel_mode": last.decoded.channel_mode,
            },
            "turns": [_measures(turn) for turn in turns],
            "sidecar": last.metadata,
        },
    )


def _continuation(key: str, turns: Sequence[AnnotatedTurn], config: ComposeConfig) -> tuple[Message, ...]:
    (turn,) = turns
    if turn.turn.seconds < config.continuation_seconds_min:
        least = config.continuation_seconds_min
        raise DataError("too_short", f"{turn.turn.seconds:.2f} s, under {least:g} s for a continuation")
    return (Message(None, (_speech(turn),)),)


def _asr(key: str, turns: Sequence[AnnotatedTurn], config: ComposeConfig) -> tuple[Message, ...]:
    (turn,) = turns
    instruction = _drawn(config.asr_instructions, turn, key)
    return (Message("human", (*instruction, _speech(turn))), Message("assistant", (_text(turn),)))


def _tts(key: str, turns: Sequence[AnnotatedTurn], config: ComposeConfig) -> tuple[Message, ...]:
    (turn,) = turns
    instruction = _drawn(config.tts_instructions, turn, key)
    return (Message("human", (*instruction, _text(turn))), Message("assistant", (_speech(turn),)))


def _aqtaa(key: str, turns: Sequence[AnnotatedTurn], config: ComposeConfig) -> tuple[Message, ...]:
    question, answer = turns
    system = _drawn(config.system_prompts, answer, key)
    return (
        *(Message("system", (prompt,)) for prompt in system),
        Message("human", (_speech(question),)),
        Message("assistant", (_text(answer), _speech(answer)), interleaved=True),
    )


_MESSAGES: dict[str, Callable[[str, Sequence[AnnotatedTurn], ComposeConfig], tuple[Message, ...]]] = {
    "continuation": _continuation,
    "asr": _asr,
    "tts": _tts,
    "aqtaa": _aqtaa,
}

FAMILIES: tuple[Family, ...] = get_args(Family)


def _text(turn: AnnotatedTurn) -> Text:
    text = turn.transcript.text.strip() if turn.transcript else ""
    if not text:
        raise DataError("no_text", "the turn has no words")
    return Text(text)


def _speech(turn: AnnotatedTurn) -> Speech:
    codes = whole_groups(turn.codes) if turn.codes else None
    if codes is None or not codes.linguistic:
        raise DataError("no_codes", "the turn is too short for a group of audio tokens")
    clip = Clip(turn.recording, turn.turn.track, turn.turn.start, turn.turn.end)
    text = turn.transcript.text.strip() if turn.transcript else None
    return Speech(codes, clip, turn.index, turn.turn.speaker, text)


def _drawn(phrasings: Phrasings, turn: AnnotatedTurn, key: str) -> tuple[Text, ...]:
    """One of the phrasings in the turn's language, the same for the same key; none where none is given."""
    language = turn.transcript.language if turn.transcript else "en"
    choice = phrasings.get(language) or phrasings.get("en") or ()
    if not choice:
        return ()
    draw = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
    return (Text(choice[draw % len(choice)]),)


def _measures(turn: AnnotatedTurn) -> dict[str, Any]:
    transcript = to_row(turn.transcript)
    if transcript is not None:
        del transcript["words"]  # turns.parquet has them
    place = {name: getattr(turn.turn, name) for name in ("start", "end", "speaker", "track")}
    return {"index": turn.index, **place, "transcript": transcript, "assessment": to_row(turn.assessment)}
