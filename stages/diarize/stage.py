"""The diarize stage: segments, speakers and turns of every recording."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from schemas.errors import DataError
from schemas.recording import (
    UNKNOWN_SPEAKER,
    Companion,
    DecodedAudio,
    Diarization,
    DiarizeColumn,
    Recording,
    Segment,
    Speaker,
    Turn,
    Unit,
)
from stages.diarize.clustering import speakers_of, stack
from stages.diarize.config import DiarizeConfig
from stages.diarize.embedding import SpeakerEmbedding, voice_of
from stages.diarize.existing import PREFERENCE, Stated, parse
from stages.diarize.external import PipelineDiarizer
from stages.diarize.segmentation import Segmentation
from stages.diarize.turns import Quietest, overlaps, turns_of, with_problems
from stages.diarize.vad import Stretch, VoiceActivity, without_crosstalk
from stages.diarize.window import SOMEBODY, WindowDiarizer
from stages.stage import SAMPLE_RATE, Samples, Stage

LEAST_SPEECH = 0.2
"""Seconds of voice activity in a whole recording under which nobody speaks in it."""
SLACK = 1.25
"""A recording up to this many windows long is heard in one, so that no short rest remains."""
BEYOND_END = 1.0
"""Seconds by which a file beside the recording may go on after the recording's end."""
TOUCHING = 0.1
"""Seconds by which turns of known text may overlap before they count as overlapped."""


class DiarizeStage(Stage[DiarizeConfig]):
    """Fills `Recording.diarize`: from a companion file, from separate channels, or with models."""

    name = "diarize"
    version = 1
    memory_settings = ("diarize.window_minutes",)

    def _load_models(self) -> None:
        """Load voice activity detection, segmentation and speaker embedding."""
        import torch

        torch.set_num_threads(1)
        config, models = self._config, self._models
        self._vad = VoiceActivity(models[config.vad])
        self._embedding = SpeakerEmbedding(models[config.embedding])
        self._diarizer: WindowDiarizer | PipelineDiarizer
        if config.pipeline:
            self._diarizer = PipelineDiarizer(models[config.pipeline], self._embedding)
        else:
            self._diarizer = WindowDiarizer(
                Segmentation(models[config.segmentation]), self._embedding, config.same_speaker
            )

    def __call__(self, unit: Unit) -> Unit:
        return self._each_recording(unit, self._diarize, lambda problems: DiarizeColumn(None, problems))

    def _diarize(self, recording: Recording) -> DiarizeColumn:
        assert recording.decode is not None
        assert recording.decode.result is not None
        decoded = recording.decode.result
        if companion := self._companion(recording):
            return self._stated(recording, decoded, companion)
        if decoded.tracks > 1:
            return self._split(recording, decoded)
        return self._heard(recording, decoded)

    # By listening

    def _heard(self, recording: Recording, decoded: DecodedAudio) -> DiarizeColumn:
        """Speakers in two passes: voices inside each window, then one clustering of all voices."""
        config = self._config
        fewest, most = config.min_speakers or 1, config.max_speakers
        windows = []
        for start, (samples,), (speech,) in self._windows(recording, decoded):
            whole = start == 0 and len(samples) >= round(decoded.seconds * SAMPLE_RATE) - 1
            if speech and (heard := self._diarizer(samples, fewest if whole else 1, most)):
                windows.append((start, heard))
        if not windows:
            raise DataError("no_single_speaker", "nowhere in this recording does one person speak alone")
        voices = stack([heard.voices for _, heard in windows])
        speaker = speakers_of(voices, config.same_speaker, fewest, most)
        found, offset = [], 0
        for start, heard in windows:
            for a, b, voice in heard.segments:
                who = SOMEBODY if voice == SOMEBODY else int(speaker[offset + voice])
                found.append((round(start + a, 3), round(start + b, 3), who))
            offset += len(heard.voices)
        found.sort()
        order = [who for who in dict.fromkeys(who for _, _, who in found) if who != SOMEBODY]
        names = {who: f"SPEAKER_{index:02d}" for index, who in enumerate(order)} | {SOMEBODY: UNKNOWN_SPEAKER}
        segments = tuple(Segment(a, b, names[who], 0) for a, b, who in found)
        centroids = voices.merged(speaker).centroids
        own = {names[who]: centroids[who] for who in order}
        turns, problems = turns_of(segments, config, self._quietest(recording))
        return DiarizeColumn(Diarization("model", segments, _speakers(segments, own), turns), problems)

    def _windows(
        self, recording: Recording, decoded: DecodedAudio
    ) -> Iterator[tuple[float, list[Samples], list[list[Stretch]]]]:
        """(start, samples of every track, speech of every track) of windows cut where all are silent.

        Raises DataError where there is no speech in any.
        """
        limit = self._config.window_minutes * 60
        start, spoken = 0.0, 0.0
        while start < decoded.seconds:
            last = decoded.seconds - start <= SLACK * limit
            end = decoded.seconds if last else start + limit
            tracks = [self._audio.read(recording, track, start, end) for track in range(decoded.tracks)]
            speech = [self._vad.speech(samples) for samples in tracks]
            if not last:
                length = _pause([stretch for one in speech for stretch in one], limit)
                end = start + length
                tracks = [samples[: round(length * SAMPLE_RATE)] for samples in tracks]
                speech = [[(a, min(b, length)) for a, b in one if a < length] for one in speech]
            spoken += sum(b - a for one in speech for a, b in one)
            if last and spoken < LEAST_SPEECH:
                raise DataError("no_speech", "nobody speaks in this recording")
            yield start, tracks, speech
            start = end

    # Channels that are the speakers

    def _split(self, recording: Recording, decoded: DecodedAudio) -> DiarizeColumn:
        """Voice activity cuts each channel; what leaks in from a louder one is left out."""
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
        voices = self._voices(recording, turns)
        return DiarizeColumn(Diarization("model", ordered, _speakers(ordered, voices), turns), problems)

    # Files beside the recording

    def _companion(self, recording: Recording) -> Companion | None:
        if self._config.existing == "ignore" and not recording.synthesized:
            return None
        known = {companion.kind: companion for companion in reversed(recording.companions)}
        return next((known[kind] for kind in PREFERENCE if kind in known), None)

    def _stated(self, recording: Recording, decoded: DecodedAudio, companion: Companion) -> DiarizeColumn:
        """What a file beside the recording says. Raises DataError where the two don't fit together."""
        config = self._config
        name = PurePosixPath(companion.uri).name
        stem = PurePosixPath(recording.id).stem
        text = self._audio.text(companion.uri)
        stated = parse(companion.kind, text, name, stem, config.merge_pause, config.max_turn)
        inside = [s for s in stated if s.start < decoded.seconds]
        late = next((s for s in stated if s.start > decoded.seconds + BEYOND_END), None)
        if late and not decoded.repairs:
            message = f"{name} speaks of {late.start:g} s, but the recording ends at {decoded.seconds:.1f} s"
            raise DataError("bad_companion", message)
        if not inside:
            raise DataError("no_speech", f"{name} holds no speech")
        segments = tuple(_segment(s, decoded) for s in inside)
        if any(s.text for s in inside):
            spans = [
                Turn(own.start, own.end, own.speaker, own.track, overlapped, s.text)
                for own, overlapped, s in zip(segments, overlaps(segments, TOUCHING), inside, strict=True)
            ]
            turns, problems = with_problems(spans, config)
        else:
            turns, problems = turns_of(segments, config, self._quietest(recording))
        voices = self._voices(recording, turns)
        return DiarizeColumn(
            Diarization(companion.kind, segments, _speakers(segments, voices), turns), problems
        )

    # Both

    def _voices(self, recording: Recording, turns: tuple[Turn, ...]) -> dict[str, Any]:
        """The voice of each named speaker, where one speaks alone at all."""
        voices = {}
        for name in {turn.speaker for turn in turns}:
            alone = [turn for turn in turns if turn.speaker == name and not turn.overlapped]
            if not alone:
                continue
            track = alone[0].track
            voice = voice_of(
                self._embedding,
                [(turn.start, turn.end) for turn in alone if turn.track == track],
                partial(self._audio.read, recording, track),
            )
            if voice is not None:
                voices[name] = voice.centroids[0]
        return voices

    def _quietest(self, recording: Recording) -> Quietest:
        """Finds the middle of the quietest 0.3 s between two times: a moment between words."""

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


def _pause(speech: list[Stretch], limit: float) -> float:
    """The middle of the longest pause in the last fifth before `limit`, or the limit, in seconds."""
    at, best, longest = 0.8 * limit, limit, 0.0
    for start, end in [*sorted(speech), (limit, limit)]:
        if start > at and start - at > longest:
            best, longest = (at + start) / 2, start - at
        at = max(at, end)
    return best


def _segment(stated: Stated, decoded: DecodedAudio) -> Segment:
    track = min(stated.channel, decoded.tracks) - 1
    return Segment(round(stated.start, 3), round(min(stated.end, decoded.seconds), 3), stated.speaker, track)


def _speakers(segments: tuple[Segment, ...], voices: Mapping[str, Any]) -> tuple[Speaker, ...]:
    """In order of first appearance, with unit-length embeddings of float32 precision."""
    names = dict.fromkeys(segment.speaker for segment in segments)
    return tuple(
        Speaker(
            name,
            round(sum(s.end - s.start for s in segments if s.speaker == name), 3),
            _embedding(voices.get(name)),
        )
        for name in names
    )


def _embedding(vector: Any) -> tuple[float, ...]:
    return () if vector is None else tuple(float(np.float32(value)) for value in vector)
