"""The data card `README.md` of a version: contents, how to read it, licences and known limits."""

from pipeline.report.facts import TurnFacts
from pipeline.report.page import template
from schemas.manifest import Manifest

DEMONSTRATION = ("package:whisper-codebooks", "package:whisper-codes")
"""Codebooks from too little speech to train a useful model."""


def card(manifest: Manifest, facts: TurnFacts) -> str:
    """The card as Markdown."""
    train = sorted(shard.path.rpartition("/")[2] for shard in manifest.shards if shard.split == "train")
    return template("card.md").render(
        m=manifest,
        facts=facts,
        train=_braces(train),
        demonstration=any(model.reference in DEMONSTRATION for model in manifest.models),
    )


def _braces(names: list[str]) -> str:
    """Consecutive shards in the notation of WebDataset: `train-{000000..000041}.tar`."""
    if len(names) < 2:
        return names[0] if names else "train-000000.tar"
    prefix, first = names[0].removesuffix(".tar").rsplit("-", 1)
    last = names[-1].removesuffix(".tar").rsplit("-", 1)[1]
    return f"{prefix}-{{{first}..{last}}}.tar"
