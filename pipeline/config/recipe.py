"""The recipe: one YAML file that says everything about a build.

Each section is the configuration of the stage of that name, so a stage's settings are documented where
the stage is. Unknown keys and wrong types are refused with their line and the nearest valid name.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from pipeline.config.yaml_config import beside, read
from pipeline.storage.uri import normal
from schemas.errors import SetupError
from stages.compose.config import ComposeConfig
from stages.decode.config import DecodeConfig
from stages.diarize.config import DiarizeConfig
from stages.interleave import InterleaveConfig
from stages.mixture import MixtureConfig
from stages.pair_turns import PairTurnsConfig
from stages.preferences import PairsConfig
from stages.quality.config import QualityConfig
from stages.select import SelectConfig
from stages.shard import ShardConfig
from stages.stage import Config, Resources
from stages.synthesize.config import SynthesizeConfig
from stages.synthesize.endpoint import EndpointConfig
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
    """Which text tokenizer the ids are built on."""

    tokenizer: str = Field("package:whisper-base", description="model reference that holds a tokenizer.json")
    preset: Literal["embedded", "extended", "step1"] = Field(
        "embedded",
        description="`embedded` takes the plain text model of a tokenizer, `extended` all its ids, to train "
        "the language model that it is of, `step1` puts <audio_0> at 65536, for the public checkpoint's",
    )


class PreferencesConfig(PairsConfig):
    """Where preference pairs come from."""

    judge: EndpointConfig | None = Field(
        None, description="an OpenAI-compatible server that compares the candidates (null: none is asked)"
    )


class ResourcesConfig(Config):
    """What each stage of annotate takes; small machines get fractions of it by themselves."""

    decode: Resources = Resources(cpus=1, memory_gb=0.5)
    diarize: Resources = Resources(cpus=2, memory_gb=1.5)
    transcribe: Resources = Resources(cpus=2, memory_gb=1.5)
    quality: Resources = Resources(cpus=2, memory_gb=1)
    tokenize: Resources = Resources(cpus=2, memory_gb=1)
    worker_niceness: int = Field(
        1,
        ge=0,
        le=19,
        description="how much a build on this machine gives way to other programs: 0 shares the cores "
        "evenly, 19 leaves them to the others. At 1 Ray's own processes still go first; Ray's default of 15 "
        "starves a build beside other work",
    )
    stall_minutes: float = Field(30, gt=0, description="a build in which nothing moves for so long is ended")


class UnitsConfig(Config):
    """How large the grain of work is."""

    recordings: int = Field(16, ge=1, description="mean number of recordings; never over 4 times as many")
    megabytes: int = Field(512, ge=1, description="most bytes of audio, unless one file alone has more")


class Recipe(Config):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of the dataset")
    inputs: tuple[str, ...] = Field((), description="files, directories, globs or prefixes")
    texts: tuple[str, ...] = Field(
        (),
        description="JSON lines and Parquet files of text, or folders of them: rows with `messages` are "
        "conversations for tqta, rows with `text` documents for replay",
    )
    output: str = Field("datasets", description="where datasets are kept: a directory, s3:// or gs://")
    scratch: str | None = Field(None, description="local directory for decoded audio (default: the system's)")
    limit_hours: float | None = Field(None, gt=0, description="take only about so many hours, for a pilot")
    units: UnitsConfig = UnitsConfig()
    decode: DecodeConfig = DecodeConfig()
    diarize: DiarizeConfig = DiarizeConfig()
    transcribe: TranscribeConfig = TranscribeConfig()
    quality: QualityConfig = QualityConfig()
    tokenize: TokenizeConfig = TokenizeConfig()
    synthesize: SynthesizeConfig = SynthesizeConfig()
    vocabulary: VocabularyConfig = VocabularyConfig()
    select: SelectConfig = SelectConfig()
    pair_turns: PairTurnsConfig = PairTurnsConfig()
    compose: ComposeConfig = ComposeConfig()
    interleave: InterleaveConfig = InterleaveConfig()
    mixture: MixtureConfig = MixtureConfig()
    preferences: PreferencesConfig = PreferencesConfig()
    shard: ShardConfig = ShardConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @field_validator("inputs", "texts", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("mixture")
    @classmethod
    def _a_weight_for_each_family(cls, value: MixtureConfig, info: ValidationInfo) -> MixtureConfig:
        families = set(info.data["compose"].families) if "compose" in info.data else set(value.weights)
        if value.weights and value.weights.keys() != families:
            named = ", ".join(sorted(families ^ value.weights.keys()))
            raise ValueError(f"`weights` and `compose.families` must name the same families, but for {named}")
        return value

    @field_validator("preferences")
    @classmethod
    def _something_to_compare(cls, value: PreferencesConfig, info: ValidationInfo) -> PreferencesConfig:
        if bool(value.candidates) != bool(value.ratings or value.judge):
            raise ValueError("`candidates` need `ratings` or a `judge` to compare them, and these need some")
        made = info.data["compose"].families if "compose" in info.data else ("aqtaa",)
        if any(value.contrast.values()) and "aqtaa" not in made:
            raise ValueError("contrasts are made of spoken answers: put aqtaa into `compose.families`")
        return value

    def content(self) -> dict[str, Any]:
        """What decides the outputs: everything but places and resources."""
        return self.model_dump(
            mode="json",
            exclude={
                **dict.fromkeys(("inputs", "texts", "output", "scratch", "limit_hours"), True),
                **dict.fromkeys(("resources", "units"), True),
                "select": {"evaluation_prompts"},
                "synthesize": {"conversations"},
                "preferences": {"candidates", "ratings"},
            },
        ) | {"units": self.units.model_dump(mode="json")}


def load(
    path: str | Path,
    settings: Sequence[str] = (),
    inputs: Sequence[str] = (),
    output: str | None = None,
    limit_hours: float | None = None,
) -> Recipe:
    """Read a recipe; `settings` are `a.b=value` overrides, `inputs` and `output` replace the recipe's.

    Places in the recipe are relative to its own directory. Raises SetupError with file, line and what to
    write instead.
    """
    written = read(path, settings, RENAMED_KEYS)
    file = written.file
    _read_lists(file, written.values)
    recipe = written.checked(Recipe)
    conversations = tuple(beside(file, uri) for uri in recipe.synthesize.conversations)
    sampled = {
        name: tuple(beside(file, uri) for uri in getattr(recipe.preferences, name))
        for name in ("candidates", "ratings")
    }
    prompts = tuple(beside(file, uri) for uri in recipe.select.evaluation_prompts)
    return recipe.model_copy(
        update={
            "synthesize": recipe.synthesize.model_copy(update={"conversations": conversations}),
            "preferences": recipe.preferences.model_copy(update=sampled),
            "inputs": tuple(inputs) or tuple(beside(file, uri) for uri in recipe.inputs),
            "texts": tuple(beside(file, uri) for uri in recipe.texts),
            "select": recipe.select.model_copy(update={"evaluation_prompts": prompts}),
            "output": normal(output or beside(file, recipe.output)),
            "limit_hours": limit_hours or recipe.limit_hours,
        }
    )


def _read_lists(file: Path, values: dict[str, Any]) -> None:
    """Put the lines of a list that the recipe names as a file into its place."""
    section = values.get("select")
    if not isinstance(section, dict):
        return
    for name in ("allow", "deny"):
        if isinstance(named := section.get(name), str):
            place = file.parent / Path(named).expanduser()
            try:
                written = place.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise SetupError(f"select.{name}: can't read the list {place}: {error}") from error
            section[name] = [line.strip() for line in written if line.strip()]


def digest(value: object) -> str:
    """A short hash of anything that JSON can say."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
