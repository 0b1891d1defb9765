"""Codebooks fitted to somebody's own recordings: decoded, cut to speech, encoded, clustered, with a card."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.inputs.listing import Input, list_inputs
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from schemas.errors import DataError, SetupError
from schemas.layout import LINGUISTIC_RATE, SEMANTIC_RATE
from schemas.recording import Recording
from stages.decode import decode_file
from stages.decode.config import DecodeConfig
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.codebooks import FILE, Codebooks
from stages.tokenize.fit import FitConfig, Progress, Use, use_of
from stages.tokenize.fit import fit as fit_codebooks
from stages.tokenize.whisper import WhisperEncoder, WhisperTokenizer

WINDOW_SECONDS = 300.0
"""Audio in memory at a time."""
DEMONSTRATION_HOURS = 100.0
"""Codebooks from less speech are labelled so."""


@dataclass(frozen=True)
class Data:
    """What a set of recordings came to."""

    recordings: int
    speech_seconds: float
    licences: dict[str, float]
    """Licence as the sidecars name it -> seconds of speech."""
    refused: dict[str, str]
    """Recording -> why it could not be used."""


@dataclass(frozen=True)
class Measured:
    """Some recordings, and how they use the codebooks."""

    data: Data
    linguistic: Use
    semantic: Use


@dataclass(frozen=True)
class Report:
    """What was fitted to what."""

    out: Path
    model: str
    model_sha256: str
    config: FitConfig
    fitted: Measured
    held: Measured | None

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
) -> Report:
    """Fit codebooks to the speech of recordings and write them with a card to a new directory.

    Use is measured on the `held` recordings too, which must not be among the inputs. A recording that
    can't be used is named in the report. Raises SetupError where `out` holds codebooks already or the
    speech is too little.
    """
    if (out / FILE).exists():
        raise SetupError(f"{out} holds codebooks already: name another directory")
    recordings = list_inputs(inputs).recordings
    held_out = list_inputs(held).recordings if held else ()
    if both := {r.uri for r in recordings} & {r.uri for r in held_out}:
        raise SetupError(f"{min(both)} is held out and among the inputs too: recordings must be one or other")
    used = resolve(model)
    encoder = WhisperEncoder(used.path)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".fit-") as scratch:
        decode = decode or DecodeConfig()
        audio = SpooledAudio(Path(scratch), decode, "fit")
        speech = Speech(recordings, audio, decode)
        made = fit_codebooks(speech, encoder, config, Path(scratch), progress)
        made.codebooks.save(out)
        held_speech = Speech(held_out, audio, decode)
        held_use = _use(held_speech, WhisperTokenizer(encoder, Codebooks.load(out))) if held else None
    report = Report(
        out,
        model,
        used.sha256,
        config,
        Measured(speech.data(), made.linguistic, made.semantic),
        Measured(held_speech.data(), *held_use) if held_use else None,
    )
    (out / "README.md").write_text(card(report, made.codebooks))
    return report


class Speech:
    """The speech of recordings, a stretch of at most 20 s at a time; counts what it came from."""

    def __init__(self, recordings: Sequence[Input], audio: SpooledAudio, decode: DecodeConfig) -> None:
        self._recordings = recordings
        self._audio = audio
        self._decode = decode
        self._seconds: dict[str, float] = {}
        self._refused: dict[str, str] = {}

    def __iter__(self) -> Iterator[Samples]:
        for found in self._recordings:
            recording = found.recording("{}")
            try:
                licence = self._licence(found)
                heard = 0.0
                for samples in self._stretches(recording):
                    heard += len(samples) / SAMPLE_RATE
                    yield samples
                if not heard:
                    raise DataError("no_speech", "no speech was heard")
                self._seconds[licence] = self._seconds.get(licence, 0.0) + heard
            except DataError as error:
                self._refused[found.id] = error.message
            finally:
                self._audio.drop(recording)

    def _licence(self, found: Input) -> str:
        try:
            sidecar = json.loads(self._audio.text(found.sidecar.uri)) if found.sidecar else {}
        except json.JSONDecodeError as error:
            raise DataError("bad_sidecar", f"its sidecar is no JSON: {error}") from error
        return str(sidecar.get("licence", "not stated")) if isinstance(sidecar, dict) else "not stated"

    def _stretches(self, recording: Recording) -> Iterator[Samples]:
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        with self._audio.fetch(recording) as raw:
            decoded = decode_file(raw, self._audio.spool(recording), self._decode)
        # As long as turns are, with as little silence.
        options = VadOptions(
            min_speech_duration_ms=250,
            max_speech_duration_s=20,
            min_silence_duration_ms=500,
            speech_pad_ms=200,
        )
        for track in range(decoded.tracks):
            for start in np.arange(0, decoded.seconds, WINDOW_SECONDS):
                samples = self._audio.read(recording, track, start, start + WINDOW_SECONDS)
                for stretch in get_speech_timestamps(samples, options):
                    yield samples[stretch["start"] : stretch["end"]]

    def data(self) -> Data:
        """What has come out so far."""
        used = len(self._recordings) - len(self._refused)
        by_licence = dict(sorted(self._seconds.items()))
        return Data(used, sum(by_licence.values()), by_licence, self._refused)


def _use(speech: Speech, tokenizer: WhisperTokenizer) -> tuple[Use, Use]:
    linguistic = np.zeros(tokenizer.linguistic_size, np.int64)
    semantic = np.zeros(tokenizer.semantic_size, np.int64)
    for samples in speech:
        [codes] = tokenizer.encode([samples])
        linguistic += np.bincount(codes.linguistic, minlength=len(linguistic))
        semantic += np.bincount(codes.semantic, minlength=len(semantic))
    return use_of(linguistic), use_of(semantic)


def card(report: Report, codebooks: Codebooks) -> str:
    """The README of a directory of codebooks."""
    config, weights = report.config, report.config.weights
    hours = report.fitted.data.speech_seconds / 3600
    lines = ["# Codebooks of the `whisper` tokenizer", ""]
    if hours < DEMONSTRATION_HOURS:
        lines += [
            f"**Demonstration only.** They come from {hours:.1f} hours of speech: enough to run "
            "the pipeline and its tests, too little for a model worth training. "
            "Fit your own with `aqaa-data codebooks fit`.",
            "",
        ]
    lines += [
        f"Linguistic codes are nearest centroids of three averaged encoder states of `{report.model}` "
        f"(sha256 of its files `{report.model_sha256}`), semantic ones of two averaged states, the "
        f"log-mel spectrum and the pitch of 40 ms. {config.linguistic_dimensions} principal components of "
        f"the states are kept for the former, {config.state_dimensions} for the latter, and "
        f"{config.spectrum_dimensions} of the spectrum, scaled so that states, spectrum and pitch vary as "
        f"{weights.words:g} : {weights.spectrum:g} : {weights.pitch:g}. Half precision; k-means seed "
        f"{config.seed}.",
        "",
        "| codebook | entries | codes a second | speech | codes | entries used | perplexity |",
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
        "Entries used and perplexity can't exceed the number of codes: few minutes use few entries.",
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
                lines += ["", "Could not be used:", ""]
                lines += [f"- `{name}`: {why}" for name, why in data.refused.items()]
    return "\n".join(lines) + "\n"


def _row(use: Use) -> str:
    return f"{use.codes} | {use.share:.1%} | {use.perplexity:.0f}"
