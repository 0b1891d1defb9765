"""Settings of the transcribe stage."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from stages.gpu import DeviceName
from stages.stage import Config
from stages.transcribe.server import TranscriptionServerConfig

Precision = Literal["float32", "float16", "bfloat16", "int8", "int8_float16", "int8_float32"]


class RecogniserConfig(Config):
    """A recogniser, and how to run it."""

    engine: Literal["faster-whisper", "transformers", "endpoint"] = Field(
        "faster-whisper",
        description="`faster-whisper` runs Whisper on CTranslate2; `transformers` any speech-to-text model "
        "that the library of this name has, such as Whisper, Parakeet, Canary, Qwen3-ASR, Moonshine or "
        "wav2vec 2.0; `endpoint` asks the `server`",
    )
    model: str = Field(
        "package:whisper-base",
        description="the model: CTranslate2 files for faster-whisper, a folder in the format of transformers "
        "for transformers; unused with a server",
    )
    server: TranscriptionServerConfig | None = Field(
        None,
        description="OpenAI-compatible server with /audio/transcriptions, such as those of vLLM and FunASR",
    )
    device: DeviceName = Field(
        "auto",
        description="device that the model runs on; auto: in a build a GPU if `resources.transcribe.gpus` "
        "reserves one, elsewhere a GPU if there is one",
    )
    compute_type: Precision | None = Field(
        None,
        description="precision of the model (null: on a GPU float16, on CPUs int8 with faster-whisper and "
        "float32 with transformers)",
    )
    beam: int = Field(5, ge=1, le=20, description="beam size")
    batch: int = Field(
        4,
        ge=1,
        le=64,
        description="windows of 30 s per batch; with the other engines, turns per batch, or per round of "
        "requests",
    )

    @model_validator(mode="after")
    def _fits_engine(self) -> Self:
        if (self.engine == "endpoint") != (self.server is not None):
            raise ValueError("`engine: endpoint` needs a `server`, and a `server` needs `engine: endpoint`")
        if self.engine == "transformers" and (self.compute_type or "").startswith("int8"):
            raise ValueError(
                "`compute_type` must be float32, float16 or bfloat16 with `engine: transformers`"
            )
        return self

    @property
    def precision(self) -> Precision:
        """The precision, or the default of the engine on the device."""
        on_cpus: Precision = "float32" if self.engine == "transformers" else "int8"
        return self.compute_type or ("float16" if self.device == "cuda" else on_cpus)

    @property
    def aligner_precision(self) -> Precision:
        """The precision of a faster-whisper model beside this one, on the same device."""
        return "float16" if self.device == "cuda" else "int8"

    def placed(self, on_gpu: bool) -> Self:
        """The settings with a device instead of `auto`."""
        return (
            self.model_copy(update={"device": "cuda" if on_gpu else "cpu"}) if self.device == "auto" else self
        )

    @property
    def has_word_times(self) -> bool:
        """Whether it always gives the times of words."""
        return self.engine == "faster-whisper"

    def content(self) -> dict[str, Any]:
        content = self.model_dump(mode="json", exclude={"server"})
        return content | {"server": self.server and self.server.reply_settings()}


class TranscribeConfig(RecogniserConfig):
    """The recognisers of a build, and what is done with their text."""

    language: str | None = Field(
        None, description="ISO 639-1 code of all speech; none: detect it for each turn"
    )
    aligner: str = Field(
        "package:whisper-base",
        description="faster-whisper model that detects languages and finds the times of words for the other "
        "engines, which can't or needn't; unused with faster-whisper",
    )
    second: RecogniserConfig | None = Field(
        None,
        description="another recogniser, whose error rate against the first is a measure of each turn (see "
        "`select.disagreement_max`); with the settings of the first (null: none)",
    )
    punctuation: str | None = Field(
        None,
        description="token classification model of transformers that restores punctuation where a recogniser "
        "writes none, such as hub:oliverguhr/fullstop-punctuation-multilang-large; the text as recognised is "
        "kept beside it (null: none)",
    )
    inverse_normalisation: Literal["package:wetext"] | None = Field(
        None,
        description="grammars that write the numbers of English and Chinese in digits (twenty three dollars "
        "as $23); other languages stay as they are; the text as recognised is kept beside it (null: none)",
    )
    chinese_script: Literal["simplified", "traditional", "keep"] = Field(
        "simplified", description="script of Chinese text"
    )
    existing: Literal["use", "check", "ignore"] = Field(
        "ignore",
        description="use: take the text of the file that states the turns, and words of a CTM, if any; "
        "check: take it, and hear these turns too, for `select.known_text_error_max`",
    )
    synthesized: Literal["check", "trust"] = Field(
        "check",
        description="text of synthesized speech (recordings whose sidecar has `synthesis`): check: hear what "
        "was spoken, and compare it by `synthesize.checks`; trust: take what was written",
    )

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that the stage loads."""
        wanted = [one.model for one in (self, self.second) if one and one.engine != "endpoint"]
        if not self.has_word_times:
            wanted.append(self.aligner)
        if self.punctuation:
            wanted.append(self.punctuation)
        if self.inverse_normalisation:
            wanted.append(self.inverse_normalisation)
        return tuple(dict.fromkeys(wanted))

    def placed(self, on_gpu: bool) -> Self:
        second = self.second and self.second.placed(on_gpu)
        return super().placed(on_gpu).model_copy(update={"second": second})

    def content(self) -> dict[str, Any]:
        content = super().content() | {"second": self.second and self.second.content()}
        if self.synthesized == "check":  # as before there was a choice: fingerprints stay
            del content["synthesized"]
        return content
