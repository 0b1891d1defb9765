"""Turns as people corrected them: text, speaker and language, and the measures that depend on them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from schemas.recording import QualityMeasures, Transcript, Word
from schemas.script import UNSPACED
from schemas.turn import AnnotatedTurn, Uncorrected
from stages.quality.stage import words_per_second
from stages.select import SelectConfig, TurnCorrection, mark_of
from stages.transcribe import measures
from stages.transcribe.languages import WITHOUT_SPACES


def corrected_turns(turns: Iterable[AnnotatedTurn], config: SelectConfig) -> list[AnnotatedTurn]:
    """The turns of a recording with the corrections of `select.marks`."""
    return [_corrected(turn, config) for turn in turns]


def _corrected(turn: AnnotatedTurn, config: SelectConfig) -> AnnotatedTurn:
    mark = mark_of(turn, config.marked.get(turn.recording, ()))
    correction = mark and mark.correction(turn)
    if not correction:
        return turn
    return _with_text(_with_speaker(turn, correction.speaker), correction)


def _with_speaker(turn: AnnotatedTurn, speaker: str | None) -> AnnotatedTurn:
    if speaker is None or speaker == turn.turn.speaker:
        return turn
    # The margin was measured for the former speaker.
    spoken = replace(turn.turn, speaker=speaker, speaker_margin=None)
    return replace(turn, turn=spoken, corrected_from=Uncorrected(speaker=turn.turn.speaker))


def _with_text(turn: AnnotatedTurn, correction: TurnCorrection) -> AnnotatedTurn:
    """With another text or language. A turn that has no transcript has no codes either, and stays so."""
    was = turn.transcript
    if was is None:
        return turn
    text, language = correction.text or was.text, correction.language or was.language
    if (text, language) == (was.text, was.language):
        return turn
    transcript = _transcript(was, text, language, turn.turn.seconds)
    return replace(
        turn,
        # The text that came with the recording no longer holds.
        turn=turn.turn if text == was.text else replace(turn.turn, text=None, words=()),
        transcript=transcript,
        assessment=turn.assessment and _assessment(turn.assessment, transcript, turn.turn.seconds),
        corrected_from=replace(
            turn.corrected_from or Uncorrected(),
            text=was.text if text != was.text else None,
            language=was.language if language != was.language else None,
        ),
    )


def _transcript(was: Transcript, text: str, language: str, seconds: float) -> Transcript:
    """The measures of the new text, without what recognisers thought of the old one."""
    counted = measures.words_of(text, language)
    return Transcript(
        text=text,
        language=language,
        language_probability=1.0,
        words=was.words if text == was.text else retimed(text, was.words),
        source="person",
        average_log_probability=None,
        no_speech_probability=None,
        compression_ratio=measures.compression_ratio(text),
        repeated_share=measures.repeated_share(counted, 4 if language in WITHOUT_SPACES else 3),
        characters_per_second=measures.letters(text) / seconds,
        longest_word=max(map(len, counted), default=0),
        phantom=False,
    )


def _assessment(was: QualityMeasures, transcript: Transcript, seconds: float) -> QualityMeasures:
    rate = words_per_second(transcript, was.speech_share * seconds)
    return replace(was, words_per_second=rate, words_outside_speech=None)


_WORD = re.compile(rf"\s*(?:[{UNSPACED}]|[^\s{UNSPACED}]+)")


def retimed(text: str, words: Sequence[Word]) -> tuple[Word, ...]:
    """The words of a corrected text, from the times of the words before; empty if those have none.

    Words that stayed keep their times. Others share, by their letters, the time of the words that they
    replace, or of a word beside them where they replace none. Their probability is 1: a person heard them.
    """
    if not words:
        return ()
    new = [match[0] for match in _WORD.finditer(text)]
    plain = [[word.strip().casefold() for word in side] for side in (new, [word.text for word in words])]
    placed: list[Word] = []
    leading: list[str] = []
    for kind, first, end, old_first, old_end in SequenceMatcher(
        None, plain[0], plain[1], autojunk=False
    ).get_opcodes():
        if kind == "equal":
            pairs = zip(new[first:end], words[old_first:old_end], strict=True)
            placed += [replace(word, text=written) for written, word in pairs]
        elif first < end:
            written = new[first:end]
            if old_end == 0:
                leading = written
            elif old_first == old_end:
                before = placed.pop()
                placed += _spread([before.text, *written], before.start, before.end)
            else:
                placed += _spread(written, words[old_first].start, words[old_end - 1].end)
    if leading:
        placed[:1] = _spread([*leading, placed[0].text], placed[0].start, placed[0].end)
    return tuple(placed)


def _spread(written: Sequence[str], start: float, end: float) -> list[Word]:
    """Words one after the other between two times in seconds, each as long as it has letters."""
    lengths = [len(word.strip()) for word in written]
    ends = [start + (end - start) * sum(lengths[: n + 1]) / sum(lengths) for n in range(len(lengths))]
    starts = [start, *ends[:-1]]
    return [Word(begin, close, word, 1.0) for begin, close, word in zip(starts, ends, written, strict=True)]
