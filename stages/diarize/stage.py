"""The diarize stage: segments, speakers and turns of every recording."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from schemas.companions import PERHAPS, by_preference, read
from schemas.errors import DataError
from schemas.recording import (
    UNKNOWN_SPEAKER,
    Companion,
    CompanionUse,
    DecodedAudio,
    Diarization,
    DiarizeColumn,
    Problem,
    Recording,
    Segment,
    Speaker,
    Turn,
    Unit,
)
from stages.diarize.clustering import speakers_of, stack
from stages.diarize.config import DiarizeConfig
from stages.diarize.embedding import SpeakerEmbedding
from stages.diarize.external import PipelineDiarizer
from stages.diarize.given import given_turns
from stages.diarize.pieces import VoicePieces, along, joined_pieces, measured, voices_of
from stages.diarize.segmentation import Segmentation
from stages.diarize.sortformer import SortformerDiarizer, nemo_file
from stages.diarize.turns import Quietest, taking_turns, turns_of
from stages.diarize.vad import without_crosstalk
from stages.diarize.window import UNKNOWN, WindowDiarizer
from stages.stage import SAMPLE_RATE, Samples, Stage
from stages.voice_activity import Stretch, VoiceActivity

MIN_SPEECH = 0.2
"""Seconds of voice activity in a recording below which nobody speaks in it."""
MAX_WINDOWS_MERGED = 1.25
"""Length in windows up to which the rest of a recording is one window, so that no short window remains."""


class DiarizeStage(Stage[DiarizeConfig]):
    """Fills `Recording.diarize`: from a companion file, from separate channels, or with models."""

    name = "diarize"
    version = 4
    memory_settings = ("diarize.window_minutes",)

    def _load_models(self) -> None:
        """Load voice activity detection, segmentation and speaker embedding."""
        import torch

        torch.set_num_threads(1)
        config, models = self._config, self._models
        self._vad = VoiceActivity(models[config.vad])
        self._embedding = SpeakerEmbedding(models[config.embedding], config.device)
        self._diarizer: WindowDiarizer | PipelineDiarizer | SortformerDiarizer
        if config.pipeline and (checkpoint := nemo_file(models[config.pipeline])):
            self._diarizer = SortformerDiarizer(checkpoint, self._embedding, config.device)
        elif config.pipeline:
            self._diarizer = PipelineDiarizer(models[config.pipeline], self._embedding, config.device)
        else:
            self._diarizer = WindowDiarizer(
                Segmentation(models[config.segmentation], config.device), self._embedding, config
            )

    def __call__(self, unit: Unit) -> Unit:
        return self._each_recording(unit, self._diarize, lambda problems: DiarizeColumn(None, problems))

    def _diarize(self, recording: Recording) -> DiarizeColumn:
        assert recording.decode is not None
        assert recording.decode.result is not None
        decoded = recording.decode.result
        uses: tuple[CompanionUse, ...] = ()
        if self._config.existing == "use" or recording.synthesized:
            if column := self._from_companions(recording, decoded):
                return column
        else:
            uses = tuple(
                _left(companion, "ignored", "`diarize.existing` is `ignore`")
                for companion in by_preference(recording.companions)
            )
        heard = self._from_tracks if decoded.tracks > 1 else self._from_models
        return replace(heard(recording, decoded), companions=uses)

    # One track with all speakers

    def _from_models(self, recording: Recording, decoded: DecodedAudio) -> DiarizeColumn:
        """Diarize each window by itself, then cluster the voices of all windows to speakers."""
        config = self._config
        fewest, most = config.min_speakers or 1, config.max_speakers
        windows = []
        for start, (samples,), (speech,) in self._windows(recording, decoded):
            whole = start == 0 and len(samples) >= round(decoded.seconds * SAMPLE_RATE) - 1
            if speech and (window := self._diarizer(samples, fewest if whole else 1, most)):
                windows.append((start, window))
        if not windows:
            raise DataError("no_single_speaker", "nowhere in this recording does one person speak alone")
        voices = stack([window.voices for _, window in windows])
        speaker_of = speakers_of(voices, config.same_speaker, fewest, most)
        stretches, offset = [], 0
        for start, window in windows:
            for a, b, voice in window.segments:
                speaker = UNKNOWN if voice == UNKNOWN else int(speaker_of[offset + voice])
                stretches.append((round(start + a, 3), round(start + b, 3), speaker))
            offset += len(window.voices)
        stretches.sort()
        order = [s for s in dict.fromkeys(speaker for _, _, speaker in stretches) if s != UNKNOWN]
        names = {speaker: f"SPEAKER_{index:02d}" for index, speaker in enumerate(order)}
        names[UNKNOWN] = UNKNOWN_SPEAKER
        segments = tuple(Segment(a, b, names[speaker], 0) for a, b, speaker in stretches)
        centroids = voices.merged(speaker_of).centroids
        embeddings = {names[speaker]: centroids[speaker] for speaker in order}
        doubts = [
            (round(start + a, 3), round(start + b, 3)) for start, window in windows for a, b in window.doubts
        ]
        turns, problems = turns_of(segments, config, self._quietest(recording), doubts)
        known = [(start, window.pieces) for start, window in windows if window.pieces is not None]
        pieces = {0: joined_pieces(known)} if known else self._pieces(recording, turns)
        turns = measured(turns, pieces, embeddings)
        return DiarizeColumn(Diarization("model", segments, _speakers(segments, embeddings), turns), problems)

    def _windows(
        self, recording: Recording, decoded: DecodedAudio
    ) -> Iterator[tuple[float, list[Samples], list[list[Stretch]]]]:
        """(start, samples of each track, speech of each track) of windows, cut where all tracks are silent.

        Times are in seconds, those of speech from the start of the window. Raises DataError if there is no
        speech in the recording.
        """
        limit = self._config.window_minutes * 60
        start, spoken = 0.0, 0.0
        while start < decoded.seconds:
            last = decoded.seconds - start <= MAX_WINDOWS_MERGED * limit
            end = decoded.seconds if last else start + limit
            tracks = [self._audio.read(recording, track, start, end) for track in range(decoded.tracks)]
            speech = [self._vad.speech(samples, recording.sings) for samples in tracks]
            if not last:
                length = _longest_pause([stretch for track in speech for stretch in track], limit)
                end = start + length
                tracks = [samples[: round(length * SAMPLE_RATE)] for samples in tracks]
                speech = [[(a, min(b, length)) for a, b in track if a < length] for track in speech]
            spoken += sum(b - a for track in speech for a, b in track)
            if last and spoken < MIN_SPEECH:
                raise DataError("no_speech", "nobody speaks in this recording")
            yield start, tracks, speech
            start = end

    def for_transcripts(self, recording: Recording) -> Recording:
        """A diarized recording with turns for all of its speech. Training data leaves out turns in which
        another voice may be heard, and very short ones; who reads a transcript wants every word, once."""
        column = recording.diarize
        if column is None or column.result is None or column.result.source != "model":
            return recording
        segments = tuple(taking_turns(column.result.segments))
        turns, _ = turns_of(segments, self._config, self._quietest(recording))
        result = replace(column.result, segments=segments, turns=turns)
        return replace(recording, diarize=replace(column, result=result, problems=()))

    # One track per speaker

    def _from_tracks(self, recording: Recording, decoded: DecodedAudio) -> DiarizeColumn:
        """The voice activity of each track, without crosstalk from louder ones."""
        segments: list[Segment] = []
        for start, tracks, speech in self._windows(recording, decoded):
            for track, (own, stretches) in enumerate(zip(tracks, speech, strict=True)):
                others = [other for index, other in enumerate(tracks) if index != track]
                segments += [
                    Segment(round(start + a, 3), round(start + b, 3), f"channel_{track + 1}", track)
                    for a, b in without_crosstalk(stretches, own, others)
                ]
        if not segments:
            raise DataError("no_speech", "nobody speaks on any channel of this recording")
        ordered = tuple(sorted(segments, key=lambda s: (s.start, s.track)))
        turns, problems = turns_of(ordered, self._config, self._quietest(recording))
        pieces = self._pieces(recording, turns)
        voices = voices_of(turns, pieces)
        turns = measured(turns, pieces, voices)
        return DiarizeColumn(Diarization("model", ordered, _speakers(ordered, voices), turns), problems)

    # Companion files

    def _from_companions(self, recording: Recording, decoded: DecodedAudio) -> DiarizeColumn | None:
        """The turns of the most preferred companion that can be used; None without companions."""
        uses: list[CompanionUse] = []
        problem: Problem | None = None
        companions = iter(by_preference(recording.companions))
        for companion in companions:
            name = companion.name
            try:
                text = self._audio.text(companion.uri)
                annotation = read(companion.kind, text, name, recording.id)
                if companion.kind in PERHAPS and not annotation.segments:  # about something else
                    continue
                given = given_turns(
                    annotation,
                    name,
                    decoded,
                    self._config,
                    partial(self._audio.read, recording),
                    self._quietest(recording),
                )
            except DataError as error:
                problem = problem or Problem(error.code, error.message)
                uses.append(CompanionUse(name, companion.kind, error.code, (error.message,)))
                continue
            uses.append(CompanionUse(name, companion.kind, "used", given.notes))
            uses += [_left(other, "less_preferred", f"{name} is preferred") for other in companions]
            lines = [
                Problem("bad_line", f"{name}, line {aside.line}: {aside.reason}", line=aside.line)
                for aside in annotation.aside
            ]
            trusted = recording.synthesized and self._config.synthesized == "trust"
            pieces = {} if trusted else self._pieces(recording, given.heard)
            voices = voices_of(given.heard, pieces)
            turns = measured(given.turns, pieces, voices)
            result = Diarization(companion.kind, given.segments, _speakers(given.segments, voices), turns)
            return DiarizeColumn(result, (*given.problems, *lines), tuple(uses))
        return DiarizeColumn(None, (problem,), tuple(uses)) if problem else None

    # All of them

    def _pieces(self, recording: Recording, turns: tuple[Turn, ...]) -> dict[int, VoicePieces]:
        return along(turns, self._embedding, partial(self._audio.read, recording))

    def _quietest(self, recording: Recording) -> Quietest:
        """A function that finds the middle of the quietest 0.3 s between two times, likely between words."""

        def quietest(track: int, start: float, end: float) -> float:
            samples = self._audio.read(recording, track, start, end)
            power = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
            width = round(0.3 * SAMPLE_RATE)
            if len(power) <= width:
                return (start + end) / 2
            return round(
                start + (int(np.argmin(power[width:] - power[:-width])) + width / 2) / SAMPLE_RATE, 3
            )

        return quietest


def _longest_pause(speech: list[Stretch], limit: float) -> float:
    """The middle of the longest pause in the last fifth before `limit`, or else `limit`; in seconds."""
    silent_since, best, longest = 0.8 * limit, limit, 0.0
    for start, end in [*sorted(speech), (limit, limit)]:
        if start > silent_since and start - silent_since > longest:
            best, longest = (silent_since + start) / 2, start - silent_since
        silent_since = max(silent_since, end)
    return best


def _left(companion: Companion, code: str, why: str) -> CompanionUse:
    return CompanionUse(companion.name, companion.kind, code, (why,))


def _speakers(segments: tuple[Segment, ...], embeddings: Mapping[str, Any]) -> tuple[Speaker, ...]:
    """Speakers in order of first appearance, with embeddings in the precision of float32."""
    seconds: dict[str, float] = defaultdict(float)
    for segment in segments:
        seconds[segment.speaker] += segment.end - segment.start
    return tuple(
        Speaker(name, round(total, 3), _embedding(embeddings.get(name))) for name, total in seconds.items()
    )


def _embedding(vector: Any) -> tuple[float, ...]:
    return () if vector is None else tuple(float(np.float32(value)) for value in vector)
