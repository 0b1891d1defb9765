"""The data card `README.md` of a version: contents, how to read it, licences and known limits."""

from typing import Any

import yaml

from pipeline.report.facts import TurnFacts
from pipeline.report.page import template
from pipeline.report.songs import PAPER_SHARE, song_funnel
from pipeline.report.styles import style_counts
from pipeline.storage import dataset_layout as layout
from schemas.manifest import Manifest
from stages.stage import SAMPLE_RATE

DEMONSTRATION = ("package:whisper-codebooks", "package:whisper-codes")
"""Codebooks from too little speech to train a useful model."""


def card(manifest: Manifest, facts: TurnFacts) -> str:
    """The card as Markdown."""
    shards = [shard.path for shard in manifest.shards]
    train = sorted(path.rpartition("/")[2] for path in shards if layout.shard_prefix(path) == "train")
    return template("card.md").render(
        m=manifest,
        facts=facts,
        songs=song_funnel(manifest.songs),
        paper_share=PAPER_SHARE,
        train=_braces(train),
        configs=yaml.safe_dump(_configs(manifest), sort_keys=False),
        styles=style_counts(manifest.styles),
        voices=style_counts(manifest.voice_styles),
        demonstration=any(model.reference in DEMONSTRATION for model in manifest.models),
    )


_SAMPLE = {"tokens.npy": "int32", "loss.npy": "uint8"}
_PAIR = dict.fromkeys(("prompt.npy", "chosen.npy", "rejected.npy"), "int32")
"""Array of a sample or a pair -> type of its elements."""


def _configs(manifest: Manifest) -> dict[str, Any]:
    """What the card says to Hugging Face datasets: subsets whose samples have the same members, and the types
    of these, since those of a record can't be told from the first few samples."""
    files: dict[str, list[dict[str, str]]] = {}
    for shard in {layout.shard_prefix(shard.path): shard for shard in manifest.shards}.values():
        path = f"{layout.SHARDS}/{layout.shard_prefix(shard.path)}-[0-9]*.tar"
        of_subset = files.setdefault(layout.shard_subset(shard.path), [])
        of_subset.append({"split": shard.split, "path": path})
    keeps_audio = bool(manifest.recipe.get("shard", {}).get("keep_audio"))
    return {
        "configs": [{"config_name": subset, "data_files": files[subset]} for subset in sorted(files)],
        "dataset_info": [
            {"config_name": subset, "features": _features(subset, keeps_audio and subset == "default")}
            for subset in sorted(files)
        ],
    }


def _features(subset: str, audio: bool) -> list[dict[str, Any]]:
    members = _PAIR if subset == "preference" else _SAMPLE
    arrays = [{"name": name, "list": element} for name, element in members.items()]
    return [
        {"name": "__key__", "dtype": "string"},
        {"name": "json", "dtype": "json"},
        *arrays,
        *([{"name": "flac", "dtype": {"audio": {"sampling_rate": SAMPLE_RATE}}}] if audio else []),
    ]


def _braces(names: list[str]) -> str:
    """Consecutive shards in the notation of WebDataset: `train-{000000..000041}.tar`."""
    if len(names) < 2:
        return names[0] if names else "train-000000.tar"
    prefix, first = names[0].removesuffix(".tar").rsplit("-", 1)
    last = names[-1].removesuffix(".tar").rsplit("-", 1)[1]
    return f"{prefix}-{{{first}..{last}}}.tar"
