"""Published versions: finding one by a reference, and reading its manifest and tables.

version = open_version(Reference.parse("out/demo@latest"))
with version.table("turns") as turns:
    print(version.manifest.dataset, turns.count_rows())
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Literal, cast

from pydantic import ValidationError

from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from schemas.errors import SetupError
from schemas.manifest import Manifest, PartitionVersion

if TYPE_CHECKING:  # pyarrow.dataset imports pandas, which takes as long as all that a version needs
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

Table = Literal["turns", "set_aside", "index"]
LATEST = "latest"
_TABLE_BYTES = 1 << 16
"""Least that is read of a table in object storage at once."""
DATASETS = "./datasets"
"""The folder of datasets that are given by name only."""


@dataclass(frozen=True)
class Reference:
    """`[URI/]NAME[@VERSION|@TAG]`: a version of a dataset, in the form that all commands accept."""

    root: str
    """URI or path of the folder that contains the dataset."""
    name: str
    wanted: str = LATEST
    """A tag, a version id, or the first digits of one."""

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Raises SetupError if the text is not a reference."""
        root, slash, last = text.rstrip("/").rpartition("/")
        name, at, wanted = last.partition("@")
        if root.endswith(":/") or not layout.is_tag_name(name) or (at and not layout.is_tag_name(wanted)):
            raise SetupError(
                f"{text!r} is not a dataset reference: write [URI/]NAME[@VERSION|@TAG], as in out/demo@latest"
            )
        return cls((root or "/") if slash else DATASETS, name, wanted or LATEST)

    def __str__(self) -> str:
        return f"{self.root.rstrip('/')}/{self.name}@{self.wanted}"


@dataclass(frozen=True)
class Version:
    """A published version: its manifest and the store of its files."""

    store: Store
    """Rooted at the dataset."""
    manifest: Manifest

    @property
    def id(self) -> str:
        return self.manifest.version

    @property
    def uri(self) -> str:
        return self.store.join(self.path())

    @property
    def parts(self) -> "Iterator[Version]":
        """The versions of its partitions, one after another; itself if it has none."""
        if not self.manifest.parts:
            yield self
        for part in self.manifest.parts:
            own = Store(self.store.join(layout.partition(part.partition)))
            try:
                yield version_at(own, part.version)
            except FileNotFoundError:
                raise SetupError(
                    f"{self.uri} needs version {part.version} of its partition {part.partition}, which has "
                    "been deleted: build again"
                ) from None

    def refuse_partitions(self, what: str) -> None:
        """Raises SetupError with what is done by partitions if the version has some."""
        if self.manifest.parts:
            first = layout.partition(self.manifest.parts[0].partition)
            raise SetupError(
                f"{self.uri} consists of {len(self.manifest.parts)} partitions, and {what}: name one, "
                f"such as {self.store.join(first)}@{self.manifest.parts[0].version}"
            )

    def path(self, file: str = "") -> str:
        """The path of a file of the version, or of one of its parts, in the store."""
        return file if layout.is_in_partition(file) else layout.version(self.id, file)

    @contextmanager
    def local(self, file: str) -> Iterator[Path]:
        """A file of the version on local disk while the context is open."""
        with ExitStack() as stack:
            with self._told(file):
                path = stack.enter_context(self.store.local(self.path(file)))
                if not path.exists():
                    raise FileNotFoundError(path)
            yield path

    @contextmanager
    def table(self, name: Table) -> "Iterator[ds.Dataset]":
        """One of the version's tables, of all its partitions; read it with `batches`. Of a table in object
        storage only the columns that are asked for are downloaded, but of the index of partitions all."""
        import pyarrow.dataset as ds

        file, is_rewritten = f"{name}.parquet", name == "index" and bool(self.manifest.parts)
        with ExitStack() as stack:
            if not self.store.is_local and not is_rewritten:
                form = ds.ParquetFileFormat()
                opened = [stack.enter_context(part.opened(file)) for part in self.parts]
                fragments = [form.make_fragment(each) for each in opened]
                yield ds.FileSystemDataset(fragments, fragments[0].physical_schema, form)
                return
            files = [stack.enter_context(part.local(file)) for part in self.parts]
            if is_rewritten:
                folder = stack.enter_context(TemporaryDirectory(prefix="aqaa-data-index-"))
                files = [
                    _with_paths(path, f"{folder_of(part)}/", Path(folder) / part.version)
                    for path, part in zip(files, self.manifest.parts, strict=True)
                ]
            yield ds.dataset(files, format="parquet")

    def opened(self, file: str) -> IO[bytes]:
        """A file of the version, of which only what is read is downloaded, at least 64 KiB at a time. Raises
        SetupError if it is missing."""
        with self._told(file):
            return self.store.open(self.path(file), _TABLE_BYTES)

    @contextmanager
    def _told(self, file: str) -> Iterator[None]:
        """Raises SetupError for a file that is missing."""
        try:
            yield
        except FileNotFoundError as error:
            raise SetupError(f"{self.uri} has no {file}: run `aqaa-data versions verify`") from error


def dataset_of(reference: Reference) -> Store:
    """The store of the dataset of a reference. Raises SetupError if it has no version."""
    store = Store(f"{reference.root.rstrip('/')}/{reference.name}")
    if not version_ids(store):
        raise SetupError(_no_dataset(reference))
    return store


def open_version(reference: Reference) -> Version:
    """The version of a reference. Raises SetupError that lists the existing ones if there is none."""
    store = dataset_of(reference)
    ids = version_ids(store)
    tags = tags_of(store)
    wanted = tags.get(reference.wanted, reference.wanted)
    matches = [wanted] if wanted in ids else [id for id in ids if id.startswith(wanted)]
    if len(matches) == 1:
        return version_at(store, matches[0])
    if matches:
        raise SetupError(f"{reference.wanted!r} matches {len(matches)} versions: {', '.join(matches[:10])}")
    raise SetupError(
        f"{reference.root}/{reference.name} has no version {reference.wanted!r}"
        f"{_nearest(reference.wanted, [*tags, *ids])}; there is {_some([*sorted(tags), *ids])}"
    )


def version_at(store: Store, id: str) -> Version:
    """The version with an id, and the shards of its partitions. Raises SetupError for an invalid manifest."""
    head = head_at(store, id)
    if not head.manifest.parts:
        return head
    shards = [
        shard.model_copy(update={"path": f"{folder_of(part)}/{shard.path}"})
        for part, version in zip(head.manifest.parts, head.parts, strict=True)
        for shard in version.manifest.shards
    ]
    return Version(store, head.manifest.model_copy(update={"shards": shards}))


def folder_of(part: PartitionVersion) -> str:
    """Where the files of a part are, relative to the dataset."""
    return f"{layout.partition(part.partition)}/{layout.version(part.version)}"


def head_at(store: Store, id: str) -> Version:
    """The version with an id and without the shards of its partitions, of which nothing is read."""
    path = layout.manifest(id)
    try:
        return Version(store, Manifest.model_validate_json(store.get(path)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SetupError(
            f"{store.join(path)} is damaged or from another release: {where} {first['msg']}"
        ) from error


def version_ids(dataset: Store) -> list[str]:
    """Ids of the complete versions of a dataset; one without a manifest doesn't exist yet."""
    if dataset.is_local and not dataset.directory.is_dir():
        return []
    ids = [name for name in dataset.folders(layout.VERSIONS) if layout.is_version_id(name)]
    return [id for id in ids if dataset.exists(layout.manifest(id))]


def published(reference: Reference) -> list[tuple[Version, list[str]]]:
    """The head of every version of a dataset with its tags, newest first. Raises SetupError without any."""
    store = dataset_of(reference)
    ids = version_ids(store)
    tags = tags_of(store)
    order = {ref_target(store, LATEST, number): number for number in ref_numbers(store, LATEST)}
    ids.sort(key=lambda id: order.get(id, -1), reverse=True)
    return [(head_at(store, id), [tag for tag in tags if tags[tag] == id]) for id in ids]


def tags_of(dataset: Store) -> dict[str, str]:
    """Tag -> version id, from the file with the highest number under `refs/<tag>`."""
    newest: dict[str, int] = {}
    for item in dataset.list(layout.REFS):
        if ref := layout.parse_ref(item.path):
            tag, number = ref
            newest[tag] = max(newest.get(tag, 0), number)
    return {tag: ref_target(dataset, tag, number) for tag, number in sorted(newest.items())}


def ref_numbers(dataset: Store, tag: str) -> list[int]:
    """The numbers of a tag's moves, oldest first."""
    refs = [layout.parse_ref(item.path) for item in dataset.list(layout.refs(tag))]
    return sorted(ref[1] for ref in refs if ref)


def ref_target(dataset: Store, tag: str, number: int) -> str:
    """The version that a tag was moved to."""
    return dataset.get(layout.ref(tag, number)).decode().strip()


def datasets_in(root: str) -> list[str]:
    """Names of the datasets in a folder or bucket."""
    store = Store(root)
    if store.is_local and not store.directory.is_dir():
        return []
    return [name for name in store.folders() if version_ids(Store(f"{root.rstrip('/')}/{name}"))]


def _no_dataset(reference: Reference) -> str:
    existing = datasets_in(reference.root)
    if not existing:
        return f"there is no dataset {reference.name!r} in {reference.root}, nor any other"
    return (
        f"there is no dataset {reference.name!r} in {reference.root}{_nearest(reference.name, existing)}; "
        f"there is {_some(existing)}"
    )


def _nearest(wrong: str, right: Iterable[str]) -> str:
    similar = difflib.get_close_matches(wrong, list(right), 1)
    return f" (did you mean {similar[0]}?)" if similar else ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _with_paths(index: Path, folder: str, target: Path) -> Path:
    """A copy of a table whose shards are relative to the dataset, as those of the manifest are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(index) as source, pq.ParquetWriter(target, source.schema_arrow) as writer:
        column = source.schema_arrow.get_field_index("shard")
        for batch in source.iter_batches():
            paths = pa.array([folder + path for path in batch["shard"].to_pylist()], pa.string())
            writer.write_batch(batch.set_column(column, "shard", paths))
    return target


def batches(
    table: "ds.Dataset",
    columns: "list[str] | dict[str, pc.Expression] | None" = None,
    where: "pc.Expression | None" = None,
) -> "Iterator[pa.RecordBatch]":
    """A table's rows in order, a few thousand at a time and with little read-ahead."""
    return cast(
        "Iterator[pa.RecordBatch]",
        table.to_batches(
            columns=columns, filter=where, batch_size=8192, batch_readahead=2, fragment_readahead=1
        ),
    )


def each_recording(
    table: "ds.Dataset", columns: list[str] | None = None, where: "pc.Expression | None" = None
) -> "Iterator[tuple[str, pa.Table]]":
    """(recording, its rows), one recording in memory at a time; tables are sorted by recording."""
    import pyarrow as pa
    import pyarrow.compute as pc

    current = ""
    pieces: list[pa.RecordBatch] = []
    for batch in batches(table, columns, where):
        runs = pc.run_end_encode(batch["recording"])
        start = 0
        for recording, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            if recording != current and pieces:
                yield current, pa.Table.from_batches(pieces)
                pieces = []
            current = recording
            pieces.append(batch.slice(start, end - start))
            start = end
    if pieces:
        yield current, pa.Table.from_batches(pieces)
