"""Transcribe: what is said in each turn, in which language, when each word, and how far to trust it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from schemas.errors import SetupError
from schemas.recording import Problem, Recording, TranscribeColumn, Transcript, Turn, Unit, Word
from stages.stage import SAMPLE_RATE, Samples, Stage
from stages.transcribe import measures
from stages.transcribe.config import TranscribeConfig
from stages.transcribe.existing import read_ctm, words_within
from stages.transcribe.languages import WITHOUT_SPACES, languages
from stages.transcribe.recogniser import Heard, Recogniser
from stages.transcribe.text import clean, script_converter
from stages.transcribe.windows import Piece, join, owner, pack, pieces, spans

LISTEN = 30.0
"""Seconds of listening for the language in a recording at least: the fewer its turns, the longer at each."""
LOOP_RATIO = 2.4
"""Compression ratio from which text counts as a loop (Whisper, Radford et al. 2022, section 4.5)."""
UNSURE = -1.0
"""Average log probability below which text counts as failed (the same)."""


class TranscribeStage(Stage[TranscribeConfig]):
    """Fills `Recording.transcribe`. In memory at a time: `batch` windows of half a minute a thread.

    Turns of one recording and language share windows. A turn that a shared window did not serve (skipped,
    cut short, given a neighbour's words, babble) is heard again, alone.
    """

    name = "transcribe"
    version = 2
    memory_settings = ("transcribe.batch", "transcribe.beam")

    def _load_models(self) -> None:
        """Load the recogniser. Raises SetupError for a model that can't be loaded or a language it lacks."""
        config = self._config
        path = self._models[config.model]
        self._recogniser = Recogniser(path, config.device, config.compute_type, config.beam, self._threads)
        if config.language not in (None, *self._recogniser.languages):
            raise SetupError(
                f"transcribe: {config.model} does not know the language {config.language!r}; "
                f"it knows {', '.join(self._recogniser.languages)}"
            )
        known = self._recogniser.languages
        self._only_language = known[0] if len(known) == 1 else None
        self._to_script = script_converter(config.chinese_script)

    def __call__(self, unit: Unit) -> Unit:
        """The unit with a transcript for every turn that is still in and has words."""
        return self._each_recording(unit, self._recording, lambda problems: TranscribeColumn((), problems))

    def _recording(self, recording: Recording) -> TranscribeColumn:
        turns, live = recording.turns, recording.live_turns()
        spoken = self._languages(recording, live)
        known = self._known(recording, live)
        transcripts: list[Transcript | None] = [None] * len(turns)
        for index, (text, words, source) in known.items():
            transcripts[index] = self._transcript(turns[index], text, words, source, *spoken[index], None)
        unknown = pieces(turns, [index for index in live if index not in known])
        for index, heard in self._hear(recording, unknown, spoken).items():
            transcripts[index] = self._transcript(
                turns[index], heard.text, heard.words, "model", *spoken[index], heard
            )
        problems = []
        for index in live:
            transcript = transcripts[index]
            if transcript is None or transcript.longest_word == 0:
                transcripts[index] = None
                problems.append(Problem("no_words", "no words are heard in this turn", index))
        return TranscribeColumn(tuple(transcripts), tuple(problems))

    def _languages(self, recording: Recording, live: Sequence[int]) -> dict[int, tuple[str, float]]:
        """(language, probability) of each live turn."""
        fixed = self._config.language or self._only_language
        if fixed or not live:
            return dict.fromkeys(live, (fixed or "", 1.0))
        turns = [recording.turns[index] for index in live]
        probabilities = [
            self._recogniser.language_probabilities(
                self._audio.read(recording, turn.track, turn.start, turn.end), LISTEN / len(turns)
            )
            for turn in turns
        ]
        return dict(zip(live, languages(probabilities, [turn.seconds for turn in turns]), strict=True))

    def _known(
        self, recording: Recording, live: Sequence[int]
    ) -> dict[int, tuple[str, tuple[Word, ...], str]]:
        """(text, words, source) of the turns whose text lies beside the recording."""
        if self._config.existing == "ignore" or recording.synthesized:  # which is to be checked by listening
            return {}
        turns = recording.turns
        source = recording.diarize.result.source if recording.diarize and recording.diarize.result else ""
        known: dict[int, tuple[str, tuple[Word, ...], str]] = {
            i: (text, (), source) for i in live if (text := turns[i].text) is not None
        }
        ctm = next((companion for companion in recording.companions if companion.kind == "ctm"), None)
        if ctm:
            tracks = recording.decode.result.tracks if recording.decode and recording.decode.result else 1
            words = read_ctm(self._audio.text(ctm.uri), tracks)
            for index in live:
                own = words_within(words, turns[index])
                text = known[index][0] if index in known else "".join(word.text for word in own)
                known[index] = (text, own, known[index][2] if index in known else "ctm")
        return known

    def _hear(
        self, recording: Recording, every: Sequence[Piece], spoken: Mapping[int, tuple[str, float]]
    ) -> dict[int, Heard]:
        """What the recogniser hears in each piece, times in the recording."""
        heard: dict[int, Heard] = {}
        for language in sorted({spoken[piece.turn][0] for piece in every}):
            own = [piece for piece in every if spoken[piece.turn][0] == language]
            windows = pack(own)
            heard |= self._windows(recording, windows, language)
            again = [[piece] for window in windows for piece in _doubtful(window, heard, language)]
            heard |= self._windows(recording, again, language)
            loops = [
                [piece] for piece in own if measures.compression_ratio(heard[piece.turn].text) > LOOP_RATIO
            ]
            heard |= self._windows(recording, loops, language, repeats=False)
        return heard

    def _windows(
        self, recording: Recording, windows: Sequence[list[Piece]], language: str, repeats: bool = True
    ) -> dict[int, Heard]:
        heard: dict[int, Heard] = {}
        for first in range(0, len(windows), self._config.batch):
            batch = windows[first : first + self._config.batch]
            sounds = [[self._read(recording, piece) for piece in window] for window in batch]
            answers = self._recogniser.hear([join(parts) for parts in sounds], language, repeats)
            for window, parts, answer in zip(batch, sounds, answers, strict=True):
                places = spans([len(part) / SAMPLE_RATE for part in parts])
                heard |= _shared_out(window, places, answer)
        return heard

    def _read(self, recording: Recording, piece: Piece) -> Samples:
        return self._audio.read(recording, piece.track, piece.start, piece.end)

    def _transcript(
        self,
        turn: Turn,
        text: str,
        words: Sequence[Word],
        source: str,
        language: str,
        probability: float,
        heard: Heard | None,
    ) -> Transcript:
        """The cleaned text with its measures."""
        convert = self._to_script if language in ("zh", "yue") else str
        text = convert(clean(text)).strip()
        counted = measures.words_of(text, language)
        return Transcript(
            text=text,
            language=language,
            language_probability=probability,
            words=tuple(replace(_clip(word, turn), text=convert(clean(word.text))) for word in words),
            source=source,
            average_log_probability=heard.average_log_probability if heard else None,
            no_speech_probability=heard.no_speech_probability if heard else None,
            compression_ratio=measures.compression_ratio(text),
            repeated_share=measures.repeated_share(counted, 4 if language in WITHOUT_SPACES else 3),
            characters_per_second=measures.letters(text) / turn.seconds,
            longest_word=max(map(len, counted), default=0),
            phantom=measures.is_phantom(text),
        )


def _doubtful(window: Sequence[Piece], heard: Mapping[int, Heard], language: str) -> list[Piece]:
    """The turns that a shared window did not serve, and those before one that took their words."""
    if len(window) == 1:
        return []
    failed = [_failed(heard[piece.turn], piece, language) for piece in window]
    robbed = [wrong and heard[piece.turn].words for wrong, piece in zip(failed, window, strict=True)]
    return [window[k] for k in range(len(window)) if failed[k] or any(robbed[k + 1 : k + 2])]


def _failed(heard: Heard, piece: Piece, language: str) -> bool:
    """Skipped, cut short, given a neighbour's words, or babble."""
    rate = measures.letters(heard.text) / piece.seconds
    slow, fast = (1.5, 12) if language in WITHOUT_SPACES else (5, 25)
    return (
        not slow <= rate <= fast
        or heard.average_log_probability < UNSURE
        or measures.compression_ratio(heard.text) > LOOP_RATIO
    )


def _shared_out(
    window: Sequence[Piece], places: Sequence[tuple[float, float]], answer: Heard
) -> dict[int, Heard]:
    """A window's words among its pieces, with their times in the recording."""
    words: list[list[Word]] = [[] for _ in window]
    for word in answer.words:
        k = owner(word.start, word.end, places)
        offset = window[k].start - places[k][0]
        words[k].append(replace(word, start=word.start + offset, end=word.end + offset))
    return {
        piece.turn: replace(answer, words=tuple(own), average_log_probability=_mean_log(own, answer))
        for piece, own in zip(window, words, strict=True)
    }


def _mean_log(words: Sequence[Word], answer: Heard) -> float:
    """The turn's own share of the window's certainty: mean log probability of its words."""
    if not words:
        return answer.average_log_probability
    return sum(math.log(max(word.probability, 1e-6)) for word in words) / len(words)


def _clip(word: Word, turn: Turn) -> Word:
    start = min(max(word.start, turn.start), turn.end)
    return replace(word, start=start, end=min(max(word.end, start), turn.end))
