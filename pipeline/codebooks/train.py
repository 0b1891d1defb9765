"""Codes trained on recordings, so that they keep the words."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.codebooks.card import CodebookUse, FitReport, card
from pipeline.codebooks.fit import use_by
from pipeline.codebooks.recorded_speech import RecordedSpeech, SpeechSummary, inputs_of
from pipeline.inputs.listing import ListedRecording
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from schemas.errors import SetupError
from stages.decode.config import DecodeConfig
from stages.stage import Samples
from stages.tokenize.fit import Progress
from stages.tokenize.trained.speech import SpeechFolder, write_speech
from stages.tokenize.trained.tokenizer import TrainedTokenizer
from stages.tokenize.trained.train import CodesTrainConfig, CodesTrainer
from stages.tokenize.trained.transcribing import WhisperText
from stages.tokenize.whisper_weights import read_whisper, weights_sha256

WORK = "training"
"""Folder in `out` with what a stopped training goes on from."""
SUMMARY = "speech.json"
"""Written last, when all speech is in the folder: what it is from."""


def train(
    inputs: Sequence[str],
    out: Path,
    model: str,
    config: CodesTrainConfig,
    held: Sequence[str] = (),
    decode: DecodeConfig | None = None,
    progress: Progress = lambda _: None,
) -> FitReport:
    """Train codes on the speech of recordings and write them, with a card, to the directory `out`.

    The text is what the Whisper model itself hears. A training that was stopped goes on where it was: speech
    and checkpoints are kept in `out` until it is done. Raises SetupError if `out` has codebooks already, if
    a training in it is of other inputs or settings, or if there is no speech.
    """
    recordings, held_out = inputs_of(inputs, held, out)
    resolved = resolve(model)
    decode = decode or DecodeConfig()
    weights = read_whisper(resolved.path)
    sha256 = weights_sha256(resolved.path)
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    _refuse_other(work, recordings, config, sha256)
    audio = SpooledAudio(work / "audio", decode, "fit")
    summary = _prepared(work, RecordedSpeech(recordings, audio, decode), WhisperText(resolved.path), progress)
    speech = SpeechFolder(work)
    if not speech.seconds:
        raise SetupError("nothing to learn from: the recordings have no speech of 1 to 30 seconds")
    trainer = CodesTrainer(weights, speech, config, work)
    trainer.train(progress)
    trainer.codes(sha256).save(out)
    tokenizer = TrainedTokenizer(weights, sha256, trainer.codes(sha256))
    held_speech = RecordedSpeech(held_out, audio, decode)
    held_use = use_by(held_speech, tokenizer) if held else None
    report = FitReport(
        out,
        model,
        resolved.sha256,
        trainer.config,
        CodebookUse(summary, *use_by(_utterances(speech), tokenizer)),
        CodebookUse(held_speech.summary(), *held_use) if held_use else None,
    )
    (out / "README.md").write_text(card(report, tokenizer.linguistic_size, tokenizer.semantic_size))
    shutil.rmtree(work)
    return report


def _refuse_other(
    work: Path, recordings: Sequence[ListedRecording], config: CodesTrainConfig, sha256: str
) -> None:
    """Raise SetupError if the folder is that of a training with other inputs or settings."""
    settings = json.dumps(
        {"inputs": [recording.uri for recording in recordings], "model": sha256, **asdict(config)}
    )
    file = work / "settings.json"
    if file.exists() and file.read_text() != settings:
        raise SetupError(
            f"{work} holds a training of other inputs or settings: continue it with those, delete the "
            "folder, or name another --out"
        )
    file.write_text(settings)


def _prepared(work: Path, speech: RecordedSpeech, whisper: WhisperText, progress: Progress) -> SpeechSummary:
    """Write the speech with what is said in it, unless it is there."""
    file = work / SUMMARY
    if file.exists():
        return SpeechSummary(**json.loads(file.read_text()))
    write_speech(work, speech, whisper.tokens, progress)
    summary = speech.summary()
    file.write_text(json.dumps(asdict(summary)))
    return summary


def _utterances(speech: SpeechFolder) -> Iterator[Samples]:
    return (speech.read(number).samples for number in range(len(speech.seconds)))
