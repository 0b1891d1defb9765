"""The plan of a build: its inputs, its stages, and what is committed already.

Everything here is known before any audio is read; `Plan.id` is a hash of everything that determines the
outputs.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.config.recipe import Recipe, digest
from pipeline.inputs.candidate_audio import sampled_audio
from pipeline.inputs.estimate import HoursEstimate, take_hours
from pipeline.inputs.listing import InputRoot, Listing, list_inputs
from pipeline.inputs.row_files import list_row_files, row_file
from pipeline.inputs.texts import VERSION as TEXTS_VERSION
from pipeline.inputs.texts import TextFile, list_texts
from pipeline.inputs.units import PlannedUnit, cut
from pipeline.inputs.voices import voice_files
from pipeline.ledger.annotations import Ledger
from pipeline.models import Model, resolve
from pipeline.storage.store import Store, split
from pipeline.synthesis.run import Synthesis
from pipeline.versions.forget import without_forgotten
from schemas.errors import SetupError
from schemas.manifest import PartitionVersion
from schemas.recording import SCHEMA_VERSION
from stages import compose, identify, interleave, mixture, pair_turns, select, shard
from stages import preferences as preferences
from stages.decode import DecodeStage
from stages.diarize import DiarizeStage
from stages.quality import QualityStage
from stages.stage import Config, Resources
from stages.synthesize.checks import VERSION as CHECKS_VERSION
from stages.tokenize import TokenizeStage
from stages.transcribe import TranscribeConfig, TranscribeStage

ANNOTATE = (DecodeStage, DiarizeStage, TranscribeStage, QualityStage, TokenizeStage)
"""The stages of annotate, in order. A new one is added here, and its column to `schemas.recording`."""

PACK = (identify, select, pair_turns, compose, interleave, mixture, preferences, shard)
"""The stages that pack runs; their versions are part of the plan."""


@dataclass(frozen=True)
class PlannedStage:
    """A stage of annotate with everything that its actors need to start on any node."""

    name: str
    type: type
    config: Config
    models: tuple[Model, ...]
    resources: Resources
    fingerprint: str


@dataclass(frozen=True)
class Plan:
    """What a build takes in and runs."""

    recipe: Recipe
    listing: Listing
    units: tuple[PlannedUnit, ...]
    stages: tuple[PlannedStage, ...]
    vocabulary: Model
    estimate: HoursEstimate
    texts: tuple[TextFile, ...] = ()
    evaluation: tuple[str, ...] = ()
    """sha256 of each file of evaluation prompts."""
    voices: tuple[tuple[str, str], ...] = ()
    """(path, sha256) of each recording of an enrolled voice."""
    synthesis: Synthesis | None = None
    sampled: tuple[tuple[str, str], ...] = ()
    """Name and etag of each file of candidates and ratings."""
    pair_only: frozenset[str] = frozenset()
    """Recordings that only candidates name; they are used for pairs only."""
    earlier: tuple[PartitionVersion, ...] | None = None
    """The partitions before this one, by name, if its duplicates and caps depend on what they keep; None if
    it doesn't, or the plan is of no partition."""

    @cached_property
    def dataset(self) -> Store:
        return Store(f"{self.recipe.output}/{self.recipe.name}")

    @cached_property
    def seconds(self) -> float:
        """Estimated audio of its units: with a limit, of those that the limit takes."""
        return sum(self.estimate.seconds_of(r) for unit in self.units for r in unit.recordings)

    @cached_property
    def pack(self) -> dict[str, Any]:
        """Everything besides the inputs that determines the outputs of pack."""
        recipe = self.recipe.content()
        sections = ("vocabulary", "select", "pair_turns", "compose", "interleave", "mixture", "shard")
        return {
            "recipe": {name: recipe[name] for name in sections},
            "versions": {stage.__name__.rpartition(".")[2]: stage.VERSION for stage in PACK}
            | {"texts": TEXTS_VERSION, "checks": CHECKS_VERSION},
            "checks": recipe["synthesize"]["checks"],
            "evaluation": self.evaluation,
            **({"identify": [recipe["identify"], self.voices]} if self.recipe.identify.is_used else {}),
            "contrast": [recipe["preferences"][name] for name in ("contrast", "deaf_phrases")],
            "tokenizer": self.vocabulary.sha256,
            "schema": SCHEMA_VERSION,
        }

    @cached_property
    def after(self) -> str:
        """Hash of what the partitions before this one keep; empty if that doesn't matter."""
        return "" if self.earlier is None else kept_by(self.earlier)

    @cached_property
    def id(self) -> str:
        """Hash of inputs, recipe, stage versions and models: everything that determines the outputs."""
        preferences = self.recipe.preferences
        placed = self.recipe.compose.labels.names_places
        return digest(
            {
                "units": [
                    [unit.name, unit.sidecars, *([unit.places] if placed else [])] for unit in self.units
                ],
                "synthesis": self.synthesis
                and [[row.recording, row.code] for row in self.synthesis.set_aside],
                "sampled": [
                    self.sampled,
                    preferences.margin,
                    preferences.raters_min,
                    preferences.judge and preferences.judge.reply_settings(),
                ],
                "texts": [[file.id, file.bytes, file.etag] for file in self.texts],
                "stages": [stage.fingerprint for stage in self.stages],
                "pack": self.pack,
                # Not in `pack`: a group is packed again only if a decision on it changes.
                **({"after": self.after} if self.after else {}),
            }
        )

    def committed(self) -> dict[str, dict[str, list[str]]]:
        """Stage -> unit -> ledger files, for this plan's units."""
        ledger = Ledger(self.dataset)
        wanted = {unit.name for unit in self.units}
        return {
            stage.name: {
                unit: paths for unit, paths in ledger.committed(stage.fingerprint).items() if unit in wanted
            }
            for stage in self.stages
        }


def kept_by(partitions: Sequence[PartitionVersion]) -> str:
    """Hash of what partitions keep."""
    return digest([part.kept for part in partitions])


def make_plan(recipe: Recipe, synthesis: Synthesis | None = None, folder: str = "") -> Plan:
    """List the inputs, cut units and resolve models. Raises SetupError; starts and writes nothing.

    The recordings of `synthesis` join those of the inputs. With a `folder`, ids of recordings begin with it:
    that of a partition, which the inputs are.
    """
    dataset = Store(f"{recipe.output}/{recipe.name}")
    if recipe.partitions:
        raise SetupError(
            f"the recipe {recipe.name} has `partitions`, and only a build plans each of them: leave them out"
        )
    listed, pair_only = _listing(recipe, synthesis, folder)
    listing = without_forgotten(listed, dataset)
    estimate = HoursEstimate.of(listing.recordings)
    units = tuple(cut(listing.recordings, recipe.units))
    if recipe.limit_hours is not None:
        units = take_hours(units, estimate, recipe.limit_hours)
    return Plan(
        recipe=recipe,
        listing=listing,
        units=units,
        stages=plan_stages(recipe),
        vocabulary=resolve(recipe.vocabulary.tokenizer),
        estimate=estimate,
        texts=list_texts(recipe.texts),
        evaluation=tuple(_sha256(uri) for uri in recipe.select.evaluation_prompts),
        voices=_voices(recipe.identify.voices) if recipe.identify.voices else (),
        synthesis=synthesis,
        sampled=tuple(
            (name, row_file(store, name).etag)
            for uri in (*recipe.preferences.candidates, *recipe.preferences.ratings)
            for store, name in list_row_files(uri)
        ),
        pair_only=pair_only,
    )


def _listing(recipe: Recipe, synthesis: Synthesis | None, folder: str) -> tuple[Listing, frozenset[str]]:
    """All recordings, and the ids of those that only candidates name."""
    other_sources = synthesis or recipe.preferences.candidates
    listed = list_inputs(recipe.inputs, folder) if recipe.inputs or not other_sources else Listing((), ())
    recordings, roots = listed.recordings, listed.roots
    spoken = synthesis.recordings if synthesis else ()
    if synthesis:
        roots = (*roots, synthesis.root)
    sampled = sampled_audio(recipe.preferences.candidates, {r.id for r in (*recordings, *spoken)})
    if sampled:
        uris = ", ".join(recipe.preferences.candidates)
        roots = (*roots, InputRoot(uris, len(sampled), sum(r.bytes for r in sampled), 0))
    files = sorted((*recordings, *sampled), key=lambda r: r.id)
    return Listing((*files, *spoken), roots), frozenset(r.id for r in sampled)


def _voices(uri: str) -> tuple[tuple[str, str], ...]:
    store = Store(uri)
    paths = [path for paths in voice_files(uri).values() for path in paths]
    return tuple((path, hashlib.sha256(store.get(path)).hexdigest()) for path in paths)


def _sha256(uri: str) -> str:
    store, name = split(uri)
    try:
        return hashlib.sha256(store.get(name)).hexdigest()
    except FileNotFoundError:
        raise SetupError(f"evaluation prompts: no such file: {uri}") from None


def plan_stages(recipe: Recipe) -> tuple[PlannedStage, ...]:
    """The stages with their models. A stage's fingerprint covers the stages before it."""
    planned: list[PlannedStage] = []
    for stage in ANNOTATE:
        resources = getattr(recipe.resources, stage.name)
        config = getattr(recipe, stage.name)
        if isinstance(config, TranscribeConfig):
            config = config.placed(on_gpu=resources.gpus > 0)
        models = tuple(resolve(reference) for reference in config.models)
        fingerprint = digest(
            {
                "name": stage.name,
                "version": stage.version,
                "schema": SCHEMA_VERSION,
                "config": config.content(),
                "models": {model.reference: model.sha256 for model in models},
                "upstream": planned[-1].fingerprint if planned else None,
            }
        )
        planned.append(PlannedStage(stage.name, stage, config, models, resources, fingerprint))
    return tuple(planned)
