"""Codebooks fitted to your own recordings: decode, detect speech, encode, cluster, and write a card."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.inputs.listing import ListedRecording, list_inputs
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from schemas.errors import DataError, SetupError
from schemas.layout import LINGUISTIC_RATE, SEMANTIC_RATE
from schemas.recording import Recording
from stages.decode import decode_file
from stages.decode.config import DecodeConfig
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.codebooks import FILE, Codebooks
from stages.tokenize.fit import CodeUsage, FitConfig, Progress, use_of
from stages.tokenize.fit import fit as fit_codebooks
from stages.tokenize.whisper import WhisperEncoder, WhisperTokenizer

WINDOW_SECONDS = 300.0
"""Seconds of audio in memory at a time."""
DEMONSTRATION_HOURS = 100.0
"""The card labels codebooks from less speech as a demonstration."""


@dataclass(frozen=True)
class SpeechSummary:
    """How much speech a set of recordings has."""

    recordings: int
    speech_seconds: float
    licences: dict[str, float]
    """Licence as named in the sidecars -> seconds of speech."""
    refused: dict[str, str]
    """Recording -> why it can't be used."""


@dataclass(frozen=True)
class CodebookUse:
    """A set of recordings, and which codebook entries their speech uses."""

    data: SpeechSummary
    linguistic: CodeUsage
    semantic: CodeUsage


@dataclass(frozen=True)
class FitReport:
    """The result of fitting codebooks."""

    out: Path
    model: str
    model_sha256: str
    config: FitConfig
    fitted: CodebookUse
    held: CodebookUse | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"out": str(self.out)}


def fit(
    inputs: Sequence[str],
    out: Path,
    model: str,
    config: FitConfig,
    held: Sequence[str] = (),
    decode: DecodeConfig | None = None,
    progress: Progress = lambda _: None,
) -> FitReport:
    """Fit codebooks to the speech of recordings and write them, with a card, to the directory `out`.

    Use is also measured on the `held` recordings, which must not be among the inputs. Recordings that
    can't be used are listed in the report. Raises SetupError if `out` has codebooks already or there is too
    little speech.
    """
    if (out / FILE).exists():
        raise SetupError(f"{out} already has codebooks: name another directory")
    recordings = list_inputs(inputs).recordings
    held_out = list_inputs(held).recordings if held else ()
    if both := {r.uri for r in recordings} & {r.uri for r in held_out}:
        raise SetupError(f"{min(both)} is both held out and among the inputs: it must be only one of them")
    resolved = resolve(model)
    encoder = WhisperEncoder(resolved.path)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".fit-") as scratch:
        decode = decode or DecodeConfig()
        audio = SpooledAudio(Path(scratch), decode, "fit")
        speech = RecordedSpeech(recordings, audio, decode)
        fitted = fit_codebooks(speech, encoder, config, Path(scratch), progress)
        fitted.codebooks.save(out)
        held_speech = RecordedSpeech(held_out, audio, decode)
        held_use = _use(held_speech, WhisperTokenizer(encoder, Codebooks.load(out))) if held else None
    report = FitReport(
        out,
        model,
        resolved.sha256,
        config,
        CodebookUse(speech.summary(), fitted.linguistic, fitted.semantic),
        CodebookUse(held_speech.summary(), *held_use) if held_use else None,
    )
    (out / "README.md").write_text(card(report, fitted.codebooks))
    return report


class RecordedSpeech:
    """Iterates over the speech of recordings, at most 20 s at a time, and counts its sources."""

    def __init__(
        self, recordings: Sequence[ListedRecording], audio: SpooledAudio, decode: DecodeConfig
    ) -> None:
        self._recordings = recordings
        self._audio = audio
        self._decode = decode
        self._seconds: dict[str, float] = {}
        self._refused: dict[str, str] = {}

    def __iter__(self) -> Iterator[Samples]:
        for listed in self._recordings:
            recording = listed.recording("{}")
            try:
                licence = self._licence(listed)
                seconds = 0.0
                for samples in self._segments(recording):
                    seconds += len(samples) / SAMPLE_RATE
                    yield samples
                if not seconds:
                    raise DataError("no_speech", "no speech was detected")
                self._seconds[licence] = self._seconds.get(licence, 0.0) + seconds
            except DataError as error:
                self._refused[listed.id] = error.message
            finally:
                self._audio.drop(recording)

    def _licence(self, listed: ListedRecording) -> str:
        try:
            sidecar = json.loads(self._audio.text(listed.sidecar.uri)) if listed.sidecar else {}
        except json.JSONDecodeError as error:
            raise DataError("bad_sidecar", f"its sidecar is not valid JSON: {error}") from error
        return str(sidecar.get("licence", "not stated")) if isinstance(sidecar, dict) else "not stated"

    def _segments(self, recording: Recording) -> Iterator[Samples]:
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        with self._audio.fetch(recording) as raw:
            decoded = decode_file(raw, self._audio.spool(recording), self._decode)
        # Segments of about the length of turns, with about as little silence.
        options = VadOptions(
            min_speech_duration_ms=250,
            max_speech_duration_s=20,
            min_silence_duration_ms=500,
            speech_pad_ms=200,
        )
        for track in range(decoded.tracks):
            for start in np.arange(0, decoded.seconds, WINDOW_SECONDS):
                samples = self._audio.read(recording, track, start, start + WINDOW_SECONDS)
                for segment in get_speech_timestamps(samples, options):
                    yield samples[segment["start"] : segment["end"]]

    def summary(self) -> SpeechSummary:
        """Totals of what has been iterated over so far."""
        used = len(self._recordings) - len(self._refused)
        by_licence = dict(sorted(self._seconds.items()))
        return SpeechSummary(used, sum(by_licence.values()), by_licence, self._refused)


def _use(speech: RecordedSpeech, tokenizer: WhisperTokenizer) -> tuple[CodeUsage, CodeUsage]:
    linguistic = np.zeros(tokenizer.linguistic_size, np.int64)
    semantic = np.zeros(tokenizer.semantic_size, np.int64)
    for samples in speech:
        [codes] = tokenizer.encode([samples])
        linguistic += np.bincount(codes.linguistic, minlength=len(linguistic))
        semantic += np.bincount(codes.semantic, minlength=len(semantic))
    return use_of(linguistic), use_of(semantic)


def card(report: FitReport, codebooks: Codebooks) -> str:
    """The README of a directory of codebooks."""
    config, weights = report.config, report.config.weights
    hours = report.fitted.data.speech_seconds / 3600
    lines = ["# Codebooks of the `whisper` tokenizer", ""]
    if hours < DEMONSTRATION_HOURS:
        lines += [
            f"**Demonstration only.** Fitted to {hours:.1f} hours of speech: enough to run the pipeline "
            "and its tests, too little to train a useful model. Fit your own with "
            "`aqaa-data codebooks fit`.",
            "",
        ]
    lines += [
        f"Linguistic codes are the nearest centroids of three averaged encoder states of `{report.model}` "
        f"(sha256 of its files: `{report.model_sha256}`); semantic codes those of two averaged states, the "
        f"log-mel spectrum and the pitch of 40 ms. States are reduced to {config.linguistic_dimensions} "
        f"principal components for linguistic and {config.state_dimensions} for semantic codes, the spectrum "
        f"to {config.spectrum_dimensions}. States, spectrum and pitch are scaled to a variance of "
        f"{weights.words:g} : {weights.spectrum:g} : {weights.pitch:g}. Half precision; k-means seed "
        f"{config.seed}.",
        "",
        "| codebook | entries | codes per second | speech | codes | entries used | perplexity |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for speech, measured in (("fitted", report.fitted), ("held out", report.held)):
        if measured:
            linguistic, semantic = codebooks.linguistic.size, codebooks.semantic.size
            rates = f"{LINGUISTIC_RATE:.2f}", f"{SEMANTIC_RATE:.0f}"
            lines += [
                f"| linguistic | {linguistic} | {rates[0]} | {speech} | {_row(measured.linguistic)} |",
                f"| semantic | {semantic} | {rates[1]} | {speech} | {_row(measured.semantic)} |",
            ]
    lines += [
        "",
        "Entries used and perplexity can't exceed the number of codes, so a few minutes use few entries.",
    ]
    for title, measured in (("Fitted to", report.fitted), ("Held out", report.held)):
        if measured:
            data = measured.data
            lines += ["", f"## {title}", ""]
            lines += [
                f"{data.recordings} recordings with {data.speech_seconds / 60:.1f} minutes of speech:",
                "",
            ]
            lines += ["| licence | minutes |", "| --- | --- |"]
            lines += [f"| {licence} | {seconds / 60:.1f} |" for licence, seconds in data.licences.items()]
            if data.refused:
                lines += ["", "Not used:", ""]
                lines += [f"- `{name}`: {reason}" for name, reason in data.refused.items()]
    return "\n".join(lines) + "\n"


def _row(use: CodeUsage) -> str:
    return f"{use.codes} | {use.share:.1%} | {use.perplexity:.0f}"
