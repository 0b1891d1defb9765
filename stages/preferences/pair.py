"""A preference pair in ids: one prompt, the answer to preferences and the one to avoid."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.errors import DataError
from schemas.layout import header
from schemas.sample import SCHEMA_VERSION, Pair, Sample
from schemas.vocabulary import Ids, Modality, Vocabulary

VERSION = 1


def pair_of(
    chosen: Sample,
    rejected: Sample,
    provenance: dict[str, Any],
    vocabulary: Vocabulary,
    key: str | None = None,
) -> Pair:
    """The pair of two samples that answer the same: what their loss covers is their side.

    `provenance` names its `source` and what speaks for the choice. Without a key it gets one that its ids
    decide. Raises DataError `empty_side` or
    `identical`, ValueError for two prompts.
    """
    prompt = chosen.tokens[chosen.loss == 0]
    if not np.array_equal(prompt, rejected.tokens[rejected.loss == 0]):
        raise ValueError("the two answer different prompts")
    sides = [sample.tokens[sample.loss == 1] for sample in (chosen, rejected)]
    a, b = (_parts(side, vocabulary) for side in sides)
    if a.empty or b.empty:
        raise DataError("empty_side", f"nothing is said in the {'chosen' if a.empty else 'rejected'} answer")
    text, audio = not np.array_equal(a.text, b.text), not np.array_equal(a.codes, b.codes)
    if not text and not audio:
        raise DataError("identical", "chosen and rejected are the same")
    messages = chosen.record["messages"]
    about = {
        "schema_version": SCHEMA_VERSION,
        "family": "preference",
        "messages": messages[:-1],
        "chosen": messages[-1],
        "rejected": rejected.record["messages"][-1],
        "differs_in": "both" if text and audio else "text" if text else "audio",
        "preference": provenance,
    }
    return Pair(key or _key(prompt, sides, provenance), chosen.record | about, prompt, *sides)


def _key(prompt: Ids, sides: Sequence[Ids], provenance: dict[str, Any]) -> str:
    both = hashlib.sha256(b"|".join(side.tobytes() for side in sides)).hexdigest()
    return f"{hashlib.sha256(prompt.tobytes()).hexdigest()[:16]}-{provenance['source']}-{both[:16]}"


def prompt_group(pair: Pair, vocabulary: Vocabulary) -> str:
    """What must stay on one side of the split: the prompt without its system message, whose words are
    drawn for each sample."""
    human = header("human", vocabulary)
    starts = np.flatnonzero(pair.prompt == vocabulary.bot)
    first = next((s for s in starts if np.array_equal(pair.prompt[s : s + len(human)], human)), 0)
    return f"prompt:{hashlib.sha256(pair.prompt[first:].tobytes()).hexdigest()}"


@dataclass(frozen=True)
class _Parts:
    text: Ids
    codes: Ids
    empty: bool


def _parts(side: Ids, vocabulary: Vocabulary) -> _Parts:
    """Words and codes of a side, apart, without markers and EOT."""
    text = vocabulary.modality(side) == Modality.TEXT
    marker = np.isin(side, (vocabulary.audio_start, vocabulary.audio_end, vocabulary.eot))
    words, codes = side[text & ~marker], side[~text]
    return _Parts(words, codes, not len(codes) and not vocabulary.decode(words).strip())
