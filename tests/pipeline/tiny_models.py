"""Models that load at once: a tiny backbone and a tiny vocoder with random weights; and real questions."""

import json
from dataclasses import replace

from pipeline.config.recipe import Recipe
from pipeline.models import resolve
from pipeline.versions.provenance import MADE_BY
from stages.train.checkpoint import save
from stages.train.model import Step1
from stages.train.shape import PRESETS, Shape
from stages.train.vocoder import vocoder
from stages.train.vocoder.flow import Flow
from stages.train.vocoder.istft import Generator
from tests.paths import DEMO, FIXTURES
from tests.stages.train.vocoder.small_shapes import LITTLE, LITTLE_PLAIN_WAVE, randomised

MONOLOGUES = DEMO / "monologues"
QUESTION = MONOLOGUES / "1688-142285-0003.flac"
SHORT = MONOLOGUES / "LJ002-0020.wav"
FULL_ATTENTION = replace(LITTLE, past=None, ahead=0)
"""The shape of a vocoder that can't stream."""
SPEECH = f"file:{FIXTURES / 'step-audio-tokenizer-small'}"
"""A small speech tokenizer."""

RECIPE = Recipe.model_validate(
    {
        "name": "x",
        "tokenize": {"tokenizer": "step-audio", "checkpoint": SPEECH},
        "interleave": {"ratio": [6, 10]},
    }
)


def described_ids(vocabulary, recipe):
    """What the manifest of a version built with a recipe says about its ids."""
    content = recipe.content()
    return vocabulary.describe() | {
        MADE_BY: {
            "vocabulary": content["vocabulary"],
            "tokenize": content["tokenize"],
            "models": {name: resolve(name).sha256 for name in recipe.tokenize.models},
            "interleave": {name: content["interleave"][name] for name in ("mode", "ratio", "concatenation")},
        }
    }


def write_checkpoint(folder, vocabulary):
    model = Step1(PRESETS["tiny"].with_vocabulary(vocabulary.size))
    model.initialise(seed=1)
    save(model, folder, described_ids(vocabulary, RECIPE))
    return folder


def write_public(folder, tokenizer):
    """A folder as the public Step-Audio models have it: a text tokenizer, and no record of its ids."""
    shape = Shape(hidden=16, ffn=24, heads=4, groups=2, layers=2, context=4096)
    model = Step1(shape)
    model.initialise(seed=1)
    save(model, folder)
    (folder / "tokenizer.model").symlink_to(tokenizer / "tokenizer.model")
    return folder


def write_vocoder(folder, flow=LITTLE):
    vocoder.save(randomised(vocoder.Vocoder(Flow(flow), Generator(LITTLE_PLAIN_WAVE))), folder)
    return folder


def change_vocabulary(checkpoint, change):
    """Apply `change` to the content of a checkpoint's vocabulary.json."""
    file = checkpoint / "vocabulary.json"
    described = json.loads(file.read_text())
    change(described)
    file.write_text(json.dumps(described))
