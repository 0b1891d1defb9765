"""Groups, each for one task of pack: units whose ids begin alike, or a file of texts."""

import logging
import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.config.recipe import digest
from pipeline.inputs.sidecars import UnitSidecars, read_sidecars, with_sidecar
from pipeline.inputs.texts import TextFile
from pipeline.ledger.annotations import Ledger
from pipeline.planning.plan import Plan
from pipeline.storage.store import Store
from schemas.errors import SetupError
from schemas.recording import Problem, Recording

UNITS_A_GROUP = 16
"""About so many; a group is held in memory while it is packed."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Decisions:
    """What was decided in view of the whole dataset, as far as it concerns a group."""

    refused: dict[str, Problem] = field(default_factory=dict)
    """Recording id, turn key or row key -> why it is set aside."""
    left_out: frozenset[str] = frozenset()
    """Keys of samples over their family's share."""

    def of(self, *keys: str) -> Problem | None:
        """Why what has one of these keys is set aside."""
        return next((self.refused[key] for key in keys if key in self.refused), None)

    def content(self) -> Any:
        """All of it, for a hash."""
        refused = sorted((key, problem.code, problem.message) for key, problem in self.refused.items())
        return [refused, sorted(self.left_out)]


@dataclass(frozen=True)
class Group:
    """What one task packs: units of recordings, or a file of texts."""

    name: str
    """The bits that the group's unit ids begin with, empty for the only group; or the file's id."""
    fingerprint: str
    """Hash of all that goes into it; its files lie under it."""
    files: tuple[dict[str, list[str]], ...] = ()
    """Ledger files of each unit, by stage."""
    uris: dict[str, str] = field(default_factory=dict)
    """Recording id -> where it lies now, for the audio."""
    sidecars: tuple[UnitSidecars, ...] = ()
    """Of the units that have any."""
    texts: TextFile | None = None
    decisions: Decisions = Decisions()
    pair_only: frozenset[str] = frozenset()
    """Recordings of its units that are for preference pairs alone."""

    def recordings(self, dataset: Store) -> list[Recording]:
        """Recordings of which samples are made, with what their sidecars say now, in order of their id."""
        ledger = Ledger(dataset)
        said = read_sidecars(self.sidecars, dataset)
        found = (with_sidecar(r, said.get(r.id)) for files in self.files for r in ledger.recordings(files))
        return sorted((r for r in found if r.id not in self.pair_only), key=lambda r: r.id)


def cut(plan: Plan) -> list[Group]:
    """The groups of a plan whose units are all committed, before anything is decided over all of them."""
    committed = plan.committed()
    bits = max(0, math.ceil(math.log2(max(1, len(plan.units) / UNITS_A_GROUP))))
    units: dict[str, list[Any]] = {}
    for unit in plan.units:
        prefix = f"{int(unit.id, 16):064b}"[:bits]
        units.setdefault(prefix, []).append(unit)
    groups = []
    for prefix, members in sorted(units.items()):
        files = tuple({stage: found[unit.name] for stage, found in committed.items()} for unit in members)
        uris = {r.id: r.uri for unit in members for r in unit.recordings}
        sidecars = tuple(UnitSidecars.of(unit) for unit in members if unit.sidecars)
        said = [unit.path for unit in sidecars]
        pair_only = plan.pair_only & uris.keys()
        content = {"files": files, "prefix": prefix, "sidecars": said, "pair_only": sorted(pair_only)}
        fingerprint = digest({"pack": plan.pack} | content)
        groups.append(Group(prefix, fingerprint, files, uris, sidecars, pair_only=pair_only))
    for texts in plan.texts:
        fingerprint = digest({"pack": plan.pack, "file": [texts.id, texts.bytes, texts.etag]})
        groups.append(Group(texts.id, fingerprint, texts=texts))
    return groups


def each_group(groups: Iterable[Group], work: Callable[[Group], Result]) -> list[Result]:
    """What `work` makes of each: of few here, of many as tasks beside each other."""
    todo = list(groups)
    if not _many(todo):
        return [work(group) for group in todo]
    import ray

    with together(todo):
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        # Each task is sent its own group, not all of them.
        sent = [{"index": index, "group": pickle.dumps(group)} for index, group in enumerate(todo)]
        items: Any = ray.data.from_items(sent)
        rows = items.map(lambda row: {"index": row["index"], "made": _made(work, row["group"])}).take_all()
    made = [pickle.loads(row["made"]) for row in sorted(rows, key=lambda row: row["index"])]
    for trouble in made:
        if isinstance(trouble, SetupError):
            raise trouble
    return made


def _made(work: Callable[[Group], Result], group: bytes) -> bytes:
    """What a task makes of a group, or what is wrong: on its way an exception would lose its type."""
    try:
        return pickle.dumps(work(pickle.loads(group)))
    except SetupError as error:
        return pickle.dumps(error)


@contextmanager
def together(groups: Sequence[Group]) -> Iterator[None]:
    """One Ray for all that is done with these groups meanwhile; none where they are few."""
    if not _many(groups):
        yield
        return
    import ray

    from pipeline.cluster.ray import running

    with nullcontext() if ray.is_initialized() else running():
        yield


def _many(groups: Sequence[Group]) -> bool:
    return sum(max(1, len(group.files)) for group in groups) > UNITS_A_GROUP
