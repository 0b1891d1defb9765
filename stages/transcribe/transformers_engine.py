"""Speech recognition with any speech-to-text model that the library transformers has.

Its kinds differ in how they decode: CTC (wav2vec 2.0, Parakeet CTC) takes the best class of each frame,
transducers (Parakeet TDT and RNN-T) and encoder-decoders (Whisper, Moonshine, Canary) generate tokens, and
language models with ears (Qwen3-ASR, Voxtral) generate them after a request in their own chat template.
"""

import inspect
import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any

from schemas.errors import DataError, SetupError
from stages.stage import SAMPLE_RATE, Samples
from stages.transcribe.alignment import joined
from stages.transcribe.languages import sum_in_order
from stages.transcribe.recogniser import Transcription

_TOKENS_PER_SECOND = 16
"""Limit of what is generated for a second of audio, so that a loop ends. Fast speech has 5 words a second."""
_TOKENS_BESIDES = 32
"""The same for what models write before and after the text."""


class TransformersEngine:
    """A model in a folder of the format of transformers, on one device.

    Raises SetupError if transformers is not installed, or the model can't be loaded or is no recogniser.
    """

    languages = None

    def __init__(self, path: Path, device: str, compute_type: str, beam: int, threads: int) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise SetupError(
                "transcribe.engine transformers needs the library transformers: pip install 'aqaa-data[hub]'"
            ) from error
        try:
            kind, loader = _loader(transformers.AutoConfig.from_pretrained(path, local_files_only=True))
            self._processor = transformers.AutoProcessor.from_pretrained(path, local_files_only=True)
            model = loader.from_pretrained(path, dtype=getattr(torch, compute_type), local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise SetupError(
                f"transcribe can't load the model in {path} with transformers: {error}"
            ) from error
        if device == "cpu":
            torch.set_num_threads(threads)
        self._kind = kind
        self._model = model.to(device).eval()
        self._beam = beam
        self._lock = Lock()
        """Transducers keep the state of a generation in the model."""

    def transcribe(
        self, windows: Sequence[Samples], language: str, allow_repeats: bool = True
    ) -> list[Transcription | DataError]:
        """The text of windows [n] at 16 kHz, recognised as one batch.

        A language that the model doesn't have results in the DataError `unsupported_language`.
        """
        import torch

        try:
            inputs = self._inputs(windows, language)
        except ValueError as error:
            refusal = DataError("unsupported_language", f"the model can't take {language}: {error}")
            return [refusal] * len(windows)
        inputs = inputs.to(self._model.device, self._model.dtype)
        with self._lock, torch.inference_mode():
            if self._kind == "ctc":
                return [*self._best_path(inputs, windows)]
            if self._kind == "transducer":
                return [*self._transduced(inputs)]
            return [*self._generated(inputs, windows, language, allow_repeats)]

    def _inputs(self, windows: Sequence[Samples], language: str) -> Any:
        """The features of windows, and the request for a transcript where the model takes one."""
        processor, audio = self._processor, list(windows)
        request = getattr(processor, "apply_transcription_request", None)
        if request is not None:
            names = {"language": language, "source_language": language, "sampling_rate": SAMPLE_RATE}
            names |= {"model_id": self._model.name_or_path, "format": ["wav"] * len(audio)}
            return request(audio, **_accepted(request, names))
        # Whisper needs its 30 s; all others take what there is.
        padding = "max_length" if self._model.config.model_type == "whisper" else "longest"
        options: dict[str, Any] = {"padding": padding, "return_tensors": "pt", "return_attention_mask": True}
        options |= _accepted(processor.__call__, {"language": language})
        return processor(audio, sampling_rate=SAMPLE_RATE, **options)

    def _best_path(self, inputs: Any, windows: Sequence[Samples]) -> Iterator[Transcription]:
        """The best class of each frame (CTC, Graves et al. 2006), without repeats and blanks."""
        log_probabilities = self._model(**inputs).logits.float().log_softmax(-1)  # [window, frame, class]
        best, classes = log_probabilities.max(-1)
        blank = self._model.config.pad_token_id
        frame = max(map(len, windows)) / SAMPLE_RATE / classes.shape[1]
        for k, samples in enumerate(windows):
            frames = min(classes.shape[1], math.ceil(len(samples) / SAMPLE_RATE / frame))
            runs: list[tuple[int, float, float, float]] = []
            for token, run in groupby(range(frames), key=classes[k, :frames].tolist().__getitem__):
                at = list(run)
                if token != blank:
                    probability = math.exp(float(best[k, at].mean()))
                    runs.append((token, at[0] * frame, (at[-1] + 1) * frame, probability))
            average = float(best[k, :frames].mean())
            words = joined(self._spelt(runs))
            yield Transcription("".join(word.text for word in words), words, average)

    def _spelt(
        self, tokens: Sequence[tuple[int, float, float, float]]
    ) -> Iterator[tuple[str, float, float, float]]:
        """The piece of text that each token adds; a character of several tokens belongs to the last."""
        tokenizer, ids, text = self._processor.tokenizer, [token for token, *_ in tokens], ""
        options = _accepted(tokenizer._decode, {"group_tokens": False})
        for k, (_, start, end, probability) in enumerate(tokens, 1):
            longer = tokenizer.decode(ids[:k], skip_special_tokens=True, **options)
            if not longer.endswith("\ufffd"):
                yield longer[len(text) :], start, end, probability
                text = longer

    def _transduced(self, inputs: Any) -> Iterator[Transcription]:
        """The tokens of a transducer with their frames."""
        out = self._model.generate(**inputs, return_dict_in_generate=True)
        _, tokens = self._processor.decode(out.sequences, durations=out.durations, skip_special_tokens=True)
        for own in tokens:
            words = joined((token["token"], token["start"], token["end"], 1.0) for token in own)
            yield Transcription("".join(word.text for word in words), words)

    def _generated(
        self, inputs: Any, windows: Sequence[Samples], language: str, allow_repeats: bool
    ) -> Iterator[Transcription]:
        """The tokens that a decoder generates, by beam search without sampling."""
        model, processor = self._model, self._processor
        seconds = max(map(len, windows)) / SAMPLE_RATE
        prompt = inputs.get("decoder_input_ids", inputs.get("input_ids"))
        given = 0 if prompt is None else prompt.shape[1]
        limit = _TOKENS_BESIDES + round(_TOKENS_PER_SECOND * seconds)
        positions = getattr(model.config, "max_target_positions", None)
        options: dict[str, Any] = {"max_new_tokens": min(limit, (positions or math.inf) - 8 - given)}
        if model.config.model_type == "whisper" and model.generation_config.is_multilingual:
            options |= {"language": language, "task": "transcribe"}
        out = model.generate(
            **inputs,
            **options,
            num_beams=self._beam,
            do_sample=False,
            no_repeat_ngram_size=0 if allow_repeats else 4,
            return_dict_in_generate=True,
            output_scores=True,
        )
        answers = out.sequences[:, given:]
        formats = {"return_format": "transcription_only", "strip_prefix": True}
        options = _accepted(processor.decode, formats)
        for ids, average in zip(answers, _averages(out, model.generation_config.eos_token_id), strict=True):
            text = processor.decode(ids, skip_special_tokens=True, **options)
            yield Transcription(str(text).strip(), None, average)


def _averages(out: Any, ends: int | list[int] | None) -> list[float | None]:
    """The mean log probability of each generated sequence; None where the model doesn't return its scores.

    `ends` are the tokens that end a sequence; padding follows.
    """
    import torch

    if (beams := getattr(out, "sequences_scores", None)) is not None:
        return [float(score) for score in beams]
    steps = getattr(out, "scores", None)
    if not steps:
        return [None] * len(out.sequences)
    chosen = out.sequences[:, -len(steps) :]
    own = torch.stack(steps, 1).float().log_softmax(-1).gather(2, chosen[..., None])[..., 0]
    stops = [ends] if isinstance(ends, int) else ends or []
    averages = []
    for tokens, scores in zip(chosen.tolist(), own.tolist(), strict=True):
        length = next((k + 1 for k, token in enumerate(tokens) if token in stops), len(tokens))
        averages.append(sum_in_order(scores[:length]) / length if length else None)
    return averages


def _loader(config: Any) -> tuple[str, Any]:
    """The kind of a model and the class that loads it. Raises ValueError for a model that is none."""
    from transformers import (
        AutoModelForCTC,
        AutoModelForMultimodalLM,
        AutoModelForRNNT,
        AutoModelForSpeechSeq2Seq,
        AutoModelForTDT,
    )

    for kind, loader in (
        ("ctc", AutoModelForCTC),
        ("transducer", AutoModelForTDT),
        ("transducer", AutoModelForRNNT),
        ("generative", AutoModelForSpeechSeq2Seq),
        ("generative", AutoModelForMultimodalLM),
    ):
        if type(config) in loader._model_mapping:
            return kind, loader
    raise ValueError(f"a model of the type {config.model_type} doesn't turn speech into text")


def _accepted(function: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of some arguments that a function names."""
    return {name: arguments[name] for name in inspect.signature(function).parameters if name in arguments}
