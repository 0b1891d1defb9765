"""Codebooks fitted to recordings by k-means."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipeline.codebooks.card import CodebookUse, FitReport, card
from pipeline.codebooks.recorded_speech import RecordedSpeech, inputs_of
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from stages.decode.config import DecodeConfig
from stages.stage import Samples
from stages.tokenize.codebooks import Codebooks
from stages.tokenize.fit import CodeUsage, FitConfig, Progress, use_of
from stages.tokenize.fit import fit as fit_codebooks
from stages.tokenize.tokenizer import Tokenizer
from stages.tokenize.whisper import WhisperEncoder, WhisperTokenizer


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
    recordings, held_out = inputs_of(inputs, held, out)
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
        held_use = use_by(held_speech, WhisperTokenizer(encoder, Codebooks.load(out))) if held else None
    report = FitReport(
        out,
        model,
        resolved.sha256,
        config,
        CodebookUse(speech.summary(), fitted.linguistic, fitted.semantic),
        CodebookUse(held_speech.summary(), *held_use) if held_use else None,
    )
    (out / "README.md").write_text(
        card(report, fitted.codebooks.linguistic.size, fitted.codebooks.semantic.size)
    )
    return report


def use_by(speech: Iterable[Samples], tokenizer: Tokenizer) -> tuple[CodeUsage, CodeUsage]:
    """Which linguistic and semantic entries the codes of speech use."""
    linguistic = np.zeros(tokenizer.linguistic_size, np.int64)
    semantic = np.zeros(tokenizer.semantic_size, np.int64)
    for samples in speech:
        [codes] = tokenizer.encode([samples])
        linguistic += np.bincount(codes.linguistic, minlength=len(linguistic))
        semantic += np.bincount(codes.semantic, minlength=len(semantic))
    return use_of(linguistic), use_of(semantic)
