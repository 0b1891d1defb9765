"""Pack groups: what one task packs, either units whose ids share a prefix or one file of texts."""

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import astuple, dataclass, field, replace
from typing import Any, TypeVar

from pipeline.config.recipe import digest
from pipeline.inputs.sidecars import UnitSidecars, read_sidecars, with_sidecar
from pipeline.inputs.texts import TextFile
from pipeline.inputs.units import PlannedUnit
from pipeline.ledger.annotations import Ledger
from pipeline.planning.plan import Plan
from pipeline.storage.store import Store
from schemas.errors import SetupError
from schemas.recording import Problem, Recording
from stages.identify import Identity

UNITS_PER_GROUP = 16
"""A group with more units is split. A group is held in memory while it is packed."""

_ID_BITS = 64

Part = TypeVar("Part")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Decisions:
    """What was decided over the whole dataset, as far as it concerns one group."""

    refused: dict[str, Problem] = field(default_factory=dict)
    """Recording id, turn key or row key -> why it is set aside."""
    left_out: frozenset[str] = frozenset()
    """Keys of samples that exceed their family's share of the mixture."""
    identities: dict[str, Identity] = field(default_factory=dict)
    """Key of a speaker of a recording -> who it is."""

    def of(self, *keys: str) -> Problem | None:
        """Why the item with one of these keys is set aside; None if it is not."""
        return next((self.refused[key] for key in keys if key in self.refused), None)

    def content(self) -> Any:
        """Everything that was decided, as JSON values for a hash."""
        refused = sorted((key, problem.code, problem.message) for key, problem in self.refused.items())
        identities = sorted((key, astuple(identity)) for key, identity in self.identities.items())
        return [refused, sorted(self.left_out), *([identities] if identities else [])]


@dataclass(frozen=True)
class Group:
    """What one task packs: units of recordings, or a file of texts."""

    name: str
    """The bits that the group's unit ids start with, empty if there is only one group; or the file's id."""
    fingerprint: str
    """Hash of everything that goes into the group; names the folder of its files."""
    files: tuple[dict[str, list[str]], ...] = ()
    """Ledger files of each unit, by stage."""
    uris: dict[str, str] = field(default_factory=dict)
    """Recording id -> current URI, to read the audio from."""
    sidecars: tuple[UnitSidecars, ...] = ()
    """Sidecars of the units that have any."""
    texts: TextFile | None = None
    decisions: Decisions = Decisions()
    pair_only: frozenset[str] = frozenset()
    """Recordings of its units that are used for preference pairs only."""

    def recordings(self, dataset: Store) -> list[Recording]:
        """The recordings that samples are made of, with their current sidecars and URIs, sorted by id."""
        ledger = Ledger(dataset)
        sidecars = read_sidecars(self.sidecars, dataset)
        recordings = (
            replace(with_sidecar(recording, sidecars.get(recording.id)), uri=self.uris[recording.id])
            for files in self.files
            for recording in ledger.recordings(files)
        )
        return sorted((r for r in recordings if r.id not in self.pair_only), key=lambda r: r.id)


def cut(plan: Plan) -> list[Group]:
    """The groups of a plan whose units are all committed, before any dataset-wide decision."""
    committed = plan.committed()
    groups = []
    for prefix, units in sorted(units_by_prefix(plan.units).items()):
        files = tuple({stage: paths[unit.name] for stage, paths in committed.items()} for unit in units)
        uris = {r.id: r.uri for unit in units for r in unit.recordings}
        sidecars = tuple(UnitSidecars.of(unit) for unit in units if unit.sidecars)
        paths = [unit.path for unit in sidecars]
        pair_only = plan.pair_only & uris.keys()
        content: dict[str, Any] = {
            "files": files,
            "prefix": prefix,
            "sidecars": paths,
            "pair_only": sorted(pair_only),
        }
        if plan.recipe.compose.labels.names_places:
            content["places"] = [unit.places for unit in units]
        fingerprint = digest({"pack": plan.pack} | content)
        groups.append(Group(prefix, fingerprint, files, uris, sidecars, pair_only=pair_only))
    for texts in plan.texts:
        fingerprint = digest({"pack": plan.pack, "file": [texts.id, texts.bytes, texts.etag]})
        groups.append(Group(texts.id, fingerprint, texts=texts))
    return groups


def units_by_prefix(
    units: Sequence[PlannedUnit], most: int = UNITS_PER_GROUP, prefix: str = ""
) -> dict[str, list[PlannedUnit]]:
    """Leaves of a binary prefix tree over unit ids: only a leaf with more than `most` units is split.

    The tree depends on the current units alone, not on the order in which they arrived, and a unit
    that is added or removed changes only the leaf that it falls into. Units keep their order.
    """
    if not units:
        return {}
    if len(units) <= most or len(prefix) == _ID_BITS:
        return {prefix: list(units)}
    halves: dict[str, list[PlannedUnit]] = {"0": [], "1": []}
    for unit in units:
        halves[f"{int(unit.id, 16):0{_ID_BITS}b}"[len(prefix)]].append(unit)
    return {
        name: leaf
        for bit, half in halves.items()
        for name, leaf in units_by_prefix(half, most, prefix + bit).items()
    }


def each_group(groups: Iterable[Group], work: Callable[[Group], Result]) -> list[Result]:
    """The results of `work` for each group, in order; many groups run as parallel Ray tasks.

    Raises SetupError as `work` raised it.
    """
    todo = list(groups)
    if not needs_ray(todo):
        return [work(group) for group in todo]
    with shared_ray(todo):
        return in_tasks(todo, work)


def in_tasks(todo: Sequence[Part], work: Callable[[Part], Result]) -> list[Result]:
    """The results of `work` for each part of a task, in order, as parallel tasks of the Ray that is running.

    Raises SetupError as `work` raised it.
    """
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # Each task is sent its own part, not all of them.
    rows = [{"index": index, "part": pickle.dumps(part)} for index, part in enumerate(todo)]
    tasks: Any = ray.data.from_items(rows)
    done = tasks.map(lambda row: {"index": row["index"], "result": _result_of(work, row["part"])}).take_all()
    results = [pickle.loads(row["result"]) for row in sorted(done, key=lambda row: row["index"])]
    for result in results:
        if isinstance(result, SetupError):
            raise result
    return results


def _result_of(work: Callable[[Part], Result], part: bytes) -> bytes:
    """The pickled result of a task, or its SetupError: Ray would wrap a raised one in a type of its own."""
    try:
        return pickle.dumps(work(pickle.loads(part)))
    except SetupError as error:
        return pickle.dumps(error)


@contextmanager
def shared_ray(groups: Sequence[Group]) -> Iterator[None]:
    """One Ray for everything that is done with these groups inside the context; none if they are few."""
    if not needs_ray(groups):
        yield
        return
    import ray

    from pipeline.cluster.ray import running

    with nullcontext() if ray.is_initialized() else running():
        yield


def needs_ray(groups: Sequence[Group]) -> bool:
    """Whether they are many."""
    return sum(max(1, len(group.files)) for group in groups) > UNITS_PER_GROUP
