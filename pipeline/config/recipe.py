"""The recipe: one YAML file that describes a build completely.

Each section is the configuration of the stage of the same name, so a stage's settings are documented with
the stage. Unknown keys and wrong types are refused with their line and the nearest valid name.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.config.yaml_config import beside, read_yaml
from pipeline.storage.uri import normalize_uri
from schemas.errors import SetupError
from schemas.text_files import lines
from schemas.vocabulary import LayoutOptions
from stages.compose.config import ComposeConfig
from stages.decode.config import DecodeConfig
from stages.diarize.config import DiarizeConfig
from stages.endpoint import EndpointConfig
from stages.identify import IdentifyConfig
from stages.interleave import InterleaveConfig
from stages.mixture import MixtureConfig
from stages.pair_turns import PairTurnsConfig
from stages.preferences import PairsConfig
from stages.quality.config import QualityConfig
from stages.select import SelectConfig, parse_marks
from stages.shard import ShardConfig
from stages.stage import Config, Resources
from stages.synthesize.config import SynthesizeConfig
from stages.tokenize.config import TokenizeConfig
from stages.transcribe.config import TranscribeConfig

RENAMED_KEYS = {
    "converse": "pair_turns",
    "prefer": "preferences",
    "assess": "quality",
    "resources.assess": "quality",
}
"""Old name of a key -> its new name in the same section. The old names work until the next release."""


class VocabularyConfig(Config):
    """The text tokenizer that the token ids are based on."""

    tokenizer: str = Field(
        "package:whisper-base", description="model reference that holds a tokenizer.json or tokenizer.model"
    )
    preset: Literal["embedded", "extended", "step1"] = Field(
        "embedded",
        description="`embedded`: only the plain text ids of the tokenizer; `extended`: all its ids, to train "
        "the language model it belongs to; `step1`: the ids of the public Step-Audio models",
    )
    chat_bos: bool | None = Field(None, description="chats begin with BOS (null: only with `step1`)")
    audio_markers: bool = Field(
        True,
        description="audio spans stand between <audio_start> and <audio_end>; false: audio ids stand bare, "
        "as in Step-Audio-Chat and Step-Audio-TTS-3B",
    )
    prefix_newline: bool | None = Field(
        None,
        description="encode content behind a line break that is cut off again, so that SentencePiece puts no "
        "space before it (null: only with `step1`)",
    )
    default_system: str | None = Field(
        None, description="system prompt of chats that have none (null: they stay without one)"
    )

    @property
    def options(self) -> LayoutOptions:
        is_step1 = self.preset == "step1"
        return LayoutOptions(
            chat_bos=is_step1 if self.chat_bos is None else self.chat_bos,
            audio_markers=self.audio_markers,
            prefix_newline=is_step1 if self.prefix_newline is None else self.prefix_newline,
            default_system=self.default_system,
        )


class PreferencesConfig(PairsConfig):
    """Where preference pairs come from."""

    judge: EndpointConfig | None = Field(
        None, description="an OpenAI-compatible server that compares the candidates (null: no judge)"
    )


class ResourcesConfig(Config):
    """What each worker of an annotate stage needs; scaled down automatically on small machines."""

    decode: Resources = Field(Resources(cpus=1, memory_gb=0.5), description="each actor of decode")
    diarize: Resources = Field(Resources(cpus=2, memory_gb=1.5), description="each actor of diarize")
    transcribe: Resources = Field(Resources(cpus=2, memory_gb=1.5), description="each actor of transcribe")
    quality: Resources = Field(Resources(cpus=2, memory_gb=1), description="each actor of quality")
    tokenize: Resources = Field(Resources(cpus=2, memory_gb=1), description="each actor of tokenize")
    worker_niceness: int = Field(
        1,
        ge=0,
        le=19,
        description="how much a build on this machine gives way to other programs: 0 shares the cores "
        "evenly, 19 leaves them to the others. At 1 Ray's own processes still go first; Ray's default of 15 "
        "starves a build beside other work",
    )
    stall_minutes: float = Field(30, gt=0, description="minutes without progress until a build is stopped")


class UnitsConfig(Config):
    """The size of a unit, the smallest piece of work that is committed and resumed."""

    recordings: int = Field(16, ge=1, description="mean number of recordings; at most 4 times as many")
    megabytes: int = Field(512, ge=1, description="maximum size, unless a single file is larger")


class PartitionsConfig(Config):
    """Inputs that are too many to be planned at once: each folder is a dataset of its own, and a version of
    all lists their versions."""

    folders: int = Field(
        1, ge=1, le=8, description="levels of folders below the inputs that make a partition"
    )


class Recipe(Config):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of the dataset")
    inputs: tuple[str, ...] = Field(
        (), description="files, directories, globs, prefixes, archives or manifests"
    )
    texts: tuple[str, ...] = Field(
        (),
        description="JSON Lines and Parquet files of text, or folders of them: rows with `messages` are "
        "conversations for tqta, rows with `text` are documents for replay",
    )
    output: str = Field("datasets", description="where datasets are written: a directory, s3:// or gs://")
    scratch: str | None = Field(
        None, description="local directory for decoded audio (default: the system's temporary directory)"
    )
    limit_hours: float | None = Field(None, gt=0, description="use only about this many hours, for a pilot")
    partitions: PartitionsConfig | None = Field(
        None,
        description="build the inputs folder by folder, for tens of millions of recordings (null: at once)",
    )
    units: UnitsConfig = Field(UnitsConfig(), description="the unit of work that is committed and resumed")
    decode: DecodeConfig = Field(DecodeConfig(), description="decoding to 16 kHz mono FLAC")
    diarize: DiarizeConfig = Field(DiarizeConfig(), description="who speaks when")
    transcribe: TranscribeConfig = Field(TranscribeConfig(), description="speech recognition")
    quality: QualityConfig = Field(QualityConfig(), description="measures of speech quality and pitch")
    tokenize: TokenizeConfig = Field(TokenizeConfig(), description="speech tokenizer")
    synthesize: SynthesizeConfig = Field(
        SynthesizeConfig(), description="speech made from written conversations"
    )
    vocabulary: VocabularyConfig = Field(VocabularyConfig(), description="text tokenizer of the token ids")
    identify: IdentifyConfig = Field(
        IdentifyConfig(), description="who the speakers are, over all recordings"
    )
    select: SelectConfig = Field(SelectConfig(), description="which turns are used")
    pair_turns: PairTurnsConfig = Field(
        PairTurnsConfig(), description="how turns become questions and answers"
    )
    compose: ComposeConfig = Field(ComposeConfig(), description="families of samples, and their instructions")
    interleave: InterleaveConfig = Field(
        InterleaveConfig(), validate_default=True, description="order of text and audio tokens in an answer"
    )
    mixture: MixtureConfig = Field(
        MixtureConfig(), description="shares of the families, and limits per speaker and language"
    )
    preferences: PreferencesConfig = Field(PreferencesConfig(), description="preference pairs")
    shard: ShardConfig = Field(ShardConfig(), description="shards, splits and bundled audio")
    resources: ResourcesConfig = Field(
        ResourcesConfig(), description="CPUs, GPUs and memory of the annotate stages"
    )

    @field_validator("inputs", "texts", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("interleave")
    @classmethod
    def _voices_can_be_told_apart(cls, value: InterleaveConfig, info: ValidationInfo) -> InterleaveConfig:
        has_markers = "vocabulary" not in info.data or info.data["vocabulary"].audio_markers
        if not has_markers and value.concatenation != "marker_removal":
            raise ValueError(
                f"`concatenation: {value.concatenation}` needs `vocabulary.audio_markers`: without markers "
                "two voices that follow each other can't be told apart. Set `concatenation: marker_removal`"
            )
        return value

    @field_validator("mixture")
    @classmethod
    def _weights_match_families(cls, value: MixtureConfig, info: ValidationInfo) -> MixtureConfig:
        families = set(info.data["compose"].families) if "compose" in info.data else set(value.weights)
        if value.weights and value.weights.keys() != families:
            named = ", ".join(sorted(families ^ value.weights.keys()))
            raise ValueError(
                f"`weights` and `compose.families` must name the same families: only one has {named}"
            )
        return value

    @field_validator("preferences")
    @classmethod
    def _candidates_can_be_compared(cls, value: PreferencesConfig, info: ValidationInfo) -> PreferencesConfig:
        if bool(value.candidates) != bool(value.ratings or value.judge):
            raise ValueError("`candidates` need `ratings` or a `judge` to compare them, and vice versa")
        families = info.data["compose"].families if "compose" in info.data else ("aqtaa",)
        if any(value.contrast.values()) and "aqtaa" not in families:
            raise ValueError("contrasts are built from spoken answers: add aqtaa to `compose.families`")
        return value

    @model_validator(mode="after")
    def _gpus_are_used(self) -> Self:
        if self.resources.decode.gpus:
            raise ValueError("decode has no use for a GPU: remove `resources.decode.gpus`")
        stages = ("diarize", "transcribe", "quality", "tokenize")
        devices = {name: getattr(self, name).device for name in stages}
        if self.transcribe.second:
            devices["transcribe.second"] = self.transcribe.second.device
        for name, device in devices.items():
            stage = name.partition(".")[0]
            reserved = getattr(self.resources, stage).gpus
            if device == "cpu" and reserved:
                raise ValueError(
                    f"`{name}.device: cpu` leaves the GPU idle that `resources.{stage}.gpus: {reserved:g}` "
                    "reserves: remove one of the two"
                )
            if device == "cuda" and not reserved:
                raise ValueError(
                    f"`{name}.device: cuda` needs a GPU: set `resources.{stage}.gpus`, to 0.5 for two actors "
                    "on each"
                )
        return self

    @model_validator(mode="after")
    def _partitions_are_of_inputs(self) -> Self:
        if self.partitions:
            others = {
                "texts": self.texts,
                "synthesize.conversations": self.synthesize.conversations,
                "preferences.candidates": self.preferences.candidates,
                "limit_hours": self.limit_hours,
            }
            if named := next((name for name, value in others.items() if value), None):
                raise ValueError(
                    f"`partitions` are of the inputs, and `{named}` is in none of them: build it as another "
                    "dataset, without `partitions`"
                )
        return self

    @model_validator(mode="after")
    def _named_ears_exist(self) -> Self:
        for ear in self.select.heard:
            if ear not in self.quality.ears:
                ears = ", ".join(self.quality.ears) or "none"
                raise ValueError(
                    f"`select.heard` names the ear {ear}, and `quality.ears` has {ears}: add it there, with "
                    "the classifiers that hear it"
                )
        return self

    @model_validator(mode="after")
    def _given_texts_are_heard(self) -> Self:
        if self.transcribe.existing == "use":
            for sings, name in ((False, "select"), (True, "select.singing")):
                if self.select.compares_known_text(sings):
                    raise ValueError(
                        f"`{name}.known_text_error_max` compares given texts with what is heard: set "
                        "`transcribe.existing: check`, which hears turns with a text, too"
                    )
        return self

    @model_validator(mode="after")
    def _bounds_are_of_what_is_measured(self) -> Self:
        """The bounds that a recipe names: those of the defaults pass where nothing is measured."""
        select, labels, checks = self.select, self.compose.labels, self.synthesize.checks
        unmeasured: list[tuple[Config | None, str, str]] = []
        if self.quality.quality is None:
            unmeasured.append((select, "select.dnsmos_overall_min", "quality.quality: null"))
            unmeasured.append((select.singing, "select.singing.dnsmos_overall_min", "quality.quality: null"))
        if self.quality.pitch is None:
            unmeasured.append((labels, "compose.labels.whisper_voiced_max", "quality.pitch: null"))
            unmeasured.append((select, "select.styles", "quality.pitch: null"))
        if self.transcribe.synthesized == "trust":
            unmeasured.append((checks, "synthesize.checks.error_rate_max", "transcribe.synthesized: trust"))
        for section, key, setting in unmeasured:
            name = key.rpartition(".")[2]
            if section and name in section.model_fields_set and getattr(section, name) is not None:
                raise ValueError(f"`{key}` needs what isn't measured with `{setting}`: remove one of them")
        return self

    @property
    def decides_over_all(self) -> bool:
        """Whether duplicates or caps set something aside: that depends on all other recordings."""
        duplicates = self.select.duplicates
        return duplicates.recordings or duplicates.texts or bool(self.mixture.hours_max)

    @property
    def measures_plain_speech(self) -> bool:
        """Whether what is synthesised in a style is also spoken plainly, to be compared with."""
        return self.synthesize.measures_plain or self.select.styles == "confirmed"

    def content(self) -> dict[str, Any]:
        """What determines the outputs: everything but paths, resources and devices."""
        # Options that aren't used are left out, so that they don't change the plans of older recipes.
        unused = {"evaluation_prompts"} if self.select.marks else {"evaluation_prompts", "marks"}
        trusts = {
            name: {"synthesized"} if getattr(self, name).synthesized == "check" else set()
            for name in ("diarize", "transcribe")
        }
        speakers = {name for name in ("asr_speakers", "tts_speakers") if getattr(self.compose, name) is None}
        return self.model_dump(
            mode="json",
            exclude={
                **dict.fromkeys(("inputs", "texts", "output", "scratch", "limit_hours", "partitions"), True),
                **dict.fromkeys(("resources", "units"), True),
                **{name: {"device"} for name in ("quality", "tokenize")},
                "diarize": {"device"} | trusts["diarize"],
                "select": unused,
                "compose": speakers,
                "transcribe": trusts["transcribe"],
                "synthesize": {"conversations": True, "spoken_instructions": {"phrasings"}},
                "preferences": {"candidates", "ratings"},
                "identify": {"voices"} if self.identify.is_used else True,
            },
        ) | {
            "units": self.units.model_dump(mode="json"),
            "vocabulary": self.vocabulary.model_dump(mode="json", exclude_defaults=True)
            | {"tokenizer": self.vocabulary.tokenizer, "preset": self.vocabulary.preset},
        }


def load(
    path: str | Path,
    settings: Sequence[str] = (),
    inputs: Sequence[str] = (),
    output: str | None = None,
    limit_hours: float | None = None,
) -> Recipe:
    """Read a recipe; `settings` are `a.b=value` overrides, `inputs` and `output` replace the recipe's.

    Paths in the recipe are relative to its own directory. Raises SetupError with file, line and what to
    write instead.
    """
    parsed = read_yaml(path, settings, RENAMED_KEYS)
    file = parsed.file
    _read_lists(file, parsed.values)
    recipe = parsed.validated(Recipe)
    conversations = tuple(beside(file, uri) for uri in recipe.synthesize.conversations)
    asking = recipe.synthesize.spoken_instructions
    if asking:
        files = {language: beside(file, uri) for language, uri in asking.phrasings.items()}
        asking = asking.model_copy(update={"phrasings": files})
    sampled = {
        name: tuple(beside(file, uri) for uri in getattr(recipe.preferences, name))
        for name in ("candidates", "ratings")
    }
    prompts = tuple(beside(file, uri) for uri in recipe.select.evaluation_prompts)
    voices = recipe.identify.voices and beside(file, recipe.identify.voices)
    return recipe.model_copy(
        update={
            "synthesize": recipe.synthesize.model_copy(
                update={"conversations": conversations, "spoken_instructions": asking}
            ),
            "preferences": recipe.preferences.model_copy(update=sampled),
            "inputs": tuple(inputs) or tuple(beside(file, uri) for uri in recipe.inputs),
            "texts": tuple(beside(file, uri) for uri in recipe.texts),
            "identify": recipe.identify.model_copy(update={"voices": voices}),
            "select": recipe.select.model_copy(update={"evaluation_prompts": prompts}),
            "output": normalize_uri(output or beside(file, recipe.output)),
            "limit_hours": limit_hours or recipe.limit_hours,
        }
    )


def _read_lists(file: Path, values: dict[str, Any]) -> None:
    """Replace the name of a file in `select.allow`, `deny` or `marks` by what the file lists."""
    section = values.get("select")
    if not isinstance(section, dict):
        return
    for name in ("allow", "deny"):
        if isinstance(named := section.get(name), str):
            list_file = file.parent / Path(named).expanduser()
            try:
                listed = lines(list_file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise SetupError(f"select.{name}: can't read the list {list_file}: {error}") from error
            section[name] = [line.strip() for line in listed if line.strip()]
    if isinstance(named := section.get("marks"), str):
        marks_file = file.parent / Path(named).expanduser()
        try:
            marks = parse_marks(lines(marks_file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise SetupError(f"select.marks: can't read the marks in {marks_file}: {error}") from error
        section["marks"] = [mark.model_dump() for mark in marks]


def digest(value: object) -> str:
    """A hash of 16 hexadecimal digits of any value that JSON can represent."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
