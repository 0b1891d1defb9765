"""The folders and file names of a dataset, relative to `<output>/<name>`. Nothing else spells them out.

    annotations/<stage fingerprint>/<unit>[.retry-<n>].parquet   what a stage measured in a unit
    annotations/sidecars/<unit id>-<hash>.parquet                texts of the unit's sidecars
    packs/<group fingerprint>/                                   shards and tables of one pack group
    surveys/<group hash>/<table>.parquet                         what a group contributes to global decisions
    deaths/<stage fingerprint>/<unit>.<attempt>/<n>.json         a worker that died over a unit
    plans/<plan id>/<n>.json                                     a version of a plan; the highest n counts
    plans/<plan id>.json                                         the same, as release 0.1.0 wrote it
    versions/<version id>/                                       a published version; its manifest comes last
    refs/<tag>/<n>                                               a move of a tag; the highest n counts
    lineage/<version id>/<name>                                  something that was made from a version
    leases/<kind>-<time>-<random>                                a running build or removal
    forgotten/<recording key>.json                               a tombstone
    partitions/<name>/                                           a partition, laid out as a dataset of its own
    runs/<time>-<plan id>.json                                   times of one run of a build
    synthesis/<fingerprint>/<conversation>.flac[.json|.jsonl]    synthesized recordings and their companions
    utterances/<voice>/<utterance>.flac                          what a local voice spoke, for all recordings
    synthesis/replies/{answers,speech}/, preferences/verdicts/   paid replies of servers
    transcripts/{first,second}/                                  the same, of the recognisers of transcribe

Other programs put files of their own beside these (`.DS_Store`, `.nfs0001`, an editor's backups): whoever
lists a folder uses the parsers below, which return None for a name that is not ours.
"""

import re
from datetime import datetime

ANNOTATIONS = "annotations"
DEATHS = "deaths"
FORGOTTEN = "forgotten"
KEPT = "kept"
LEASES = "leases"
LINEAGE = "lineage"
PACKS = "packs"
PARTITIONS = "partitions"
PLANS = "plans"
REFS = "refs"
RUNS = "runs"
SHARDS = "shards"
SURVEYS = "surveys"
SYNTHESIS = "synthesis"
UTTERANCES = "utterances"
VERSIONS = "versions"

ANSWERS = f"{SYNTHESIS}/replies/answers"
SPEECH = f"{SYNTHESIS}/replies/speech"
VERDICTS = "preferences/verdicts"

CACHES = (PACKS, SURVEYS, DEATHS, UTTERANCES)
"""Made again where they are missing: only their age decides how long they are kept."""

TRANSCRIPTS = "transcripts"

REPLIES = (ANSWERS, SPEECH, VERDICTS, f"{TRANSCRIPTS}/first", f"{TRANSCRIPTS}/second")
"""Replies of servers that were paid for: kept whatever their age."""

MANIFEST = "manifest.json"
"""Of a version; written last."""

SUMMARY = "summary.json"
"""Of a pack group; written last."""

_TAG_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_REF = re.compile(r"refs/(?P<tag>[^/]+)/(?P<number>[1-9][0-9]*)")
_PLAN = re.compile(r"plans/(?P<plan>[0-9a-f]+)(/(?P<number>[1-9][0-9]*))?\.json")
_ANNOTATION = re.compile(r"(?P<unit>[0-9a-f]+-[0-9a-f]+)(\.retry-(?P<retry>[0-9]+))?\.parquet")
_TOMBSTONE = re.compile(r"forgotten/(?P<key>[0-9a-f]+)\.json")


def transcripts(recogniser: str) -> str:
    """The replies of the server that is the `first` or `second` recogniser of transcribe."""
    return f"{TRANSCRIPTS}/{recogniser}"


def annotations(fingerprint: str) -> str:
    """The folder of one stage."""
    return f"{ANNOTATIONS}/{fingerprint}"


def annotation(fingerprint: str, unit: str, retry: int = 0) -> str:
    return f"{annotations(fingerprint)}/{unit}{f'.retry-{retry}' if retry else ''}.parquet"


def parse_annotation(path: str) -> tuple[str, int] | None:
    """The unit and the number of the retry (0: the first file) of a file of annotations."""
    match = _ANNOTATION.fullmatch(path.rpartition("/")[2])
    return (match["unit"], int(match["retry"] or 0)) if match else None


def is_ledger_file(path: str) -> bool:
    """Whether a path is a file of annotations or of sidecars."""
    return re.fullmatch(rf"{ANNOTATIONS}/[^./][^/]*/[0-9a-f][^/]*\.parquet", path) is not None


def sidecars(unit_id: str, content: str) -> str:
    return f"{ANNOTATIONS}/sidecars/{unit_id}-{content}.parquet"


def pack(group: str) -> str:
    return f"{PACKS}/{group}"


def survey(group: str, table: str) -> str:
    return f"{SURVEYS}/{group}/{table}.parquet"


def death(fingerprint: str, unit: str, attempt: int, number: int) -> str:
    return f"{DEATHS}/{fingerprint}/{unit}.{attempt}/{number}.json"


def partition(name: str) -> str:
    """The folder of one partition."""
    return f"{PARTITIONS}/{name}"


def is_in_partition(path: str) -> bool:
    return path.startswith(f"{PARTITIONS}/")


def plan(id: str, number: int = 0) -> str:
    """A record of the version that a plan resulted in; 0 is the only record that release 0.1.0 wrote."""
    return f"{PLANS}/{id}/{number}.json" if number else f"{PLANS}/{id}.json"


def plan_records(id: str) -> str:
    """The folder of a plan's numbered records."""
    return f"{PLANS}/{id}"


def parse_plan(path: str) -> tuple[str, int] | None:
    """The id and the number of a plan's record."""
    match = _PLAN.fullmatch(path)
    return (match["plan"], int(match["number"] or 0)) if match else None


def version(id: str, file: str = "") -> str:
    """The folder of a version, or a file in it."""
    return f"{VERSIONS}/{id}/{file}".rstrip("/")


def is_version_id(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]+", name) is not None


def manifest(version_id: str) -> str:
    return version(version_id, MANIFEST)


def kept(table: str) -> str:
    """A table of what a partition keeps, relative to its version."""
    return f"{KEPT}/{table}.parquet"


def is_kept(path: str) -> bool:
    return path.startswith(f"{KEPT}/")


def shard(prefix: str, index: int) -> str:
    """A shard, relative to its version."""
    return f"{SHARDS}/{prefix}-{index:06d}.tar"


def shard_prefix(path: str) -> str:
    """What the names of shards with the same members begin with: `train` of `shards/train-000007.tar`."""
    return path.rpartition("/")[2].rpartition("-")[0]


def shard_subset(path: str) -> str:
    """The kind of the samples in a shard: `preference`, `text`, or `default`."""
    return shard_prefix(path).partition("-")[2] or "default"


def shard_file(path: str) -> str:
    """A name for what is made of a shard, unique in its version: `train-000007.tar`, and in a partition
    `2026-07-train-000007.tar`."""
    partition = f"{path.split('/')[1]}-" if is_in_partition(path) else ""
    return partition + path.rpartition("/")[2]


def refs(tag: str) -> str:
    """The folder of one tag."""
    return f"{REFS}/{tag}"


def ref(tag: str, number: int) -> str:
    return f"{refs(tag)}/{number}"


def parse_ref(path: str) -> tuple[str, int] | None:
    """The tag and the number of a move of it."""
    match = _REF.fullmatch(path)
    return (match["tag"], int(match["number"])) if match and is_tag_name(match["tag"]) else None


def is_tag_name(name: str) -> bool:
    """Whether a name has only letters, digits and `. _ -`, and starts with none of `.` and `-`."""
    return _TAG_NAME.fullmatch(name) is not None


def lineage(version_id: str, name: str = "") -> str:
    """The folder of what was made from a version, or a file in it."""
    return f"{LINEAGE}/{version_id}/{name}".rstrip("/")


def is_lineage(path: str) -> bool:
    """Whether a path is a file that records what was made from a version."""
    return re.fullmatch(rf"{LINEAGE}/[0-9a-f]+/[A-Za-z0-9_][A-Za-z0-9._-]*\.json", path) is not None


def lease(kind: str, seconds: float, random: str) -> str:
    """`seconds` since the epoch."""
    return f"{LEASES}/{kind}-{seconds:.0f}-{random}"


def is_lease(path: str, kind: str) -> bool:
    return re.fullmatch(rf"{LEASES}/{kind}-[0-9]+-[0-9a-f]+", path) is not None


def tombstone(recording_key: str) -> str:
    return f"{FORGOTTEN}/{recording_key}.json"


def parse_tombstone(path: str) -> str | None:
    """The key of the recording that a tombstone is for."""
    match = _TOMBSTONE.fullmatch(path)
    return match["key"] if match else None


def run(started: datetime, plan_id: str) -> str:
    return f"{RUNS}/{started:%Y%m%dT%H%M%S}-{plan_id}.json"


def synthesis(fingerprint: str) -> str:
    """The folder of the recordings of one set of settings."""
    return f"{SYNTHESIS}/{fingerprint}"


def utterances(voice: str) -> str:
    """The folder of what one voice spoke."""
    return f"{UTTERANCES}/{voice}"


def synthesized_id(conversation: str) -> str:
    """The id of a conversation's recording, which says nothing of the settings."""
    return f"{SYNTHESIS}/{conversation}.flac"
