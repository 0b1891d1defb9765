"""Preference pairs as token ids: a prompt, the chosen answer and the rejected one."""

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
    """The pair of two samples with the same prompt. The tokens that their loss covers are the two sides.

    `provenance` holds the `source` of the choice and its evidence. The default key is a hash of the ids.
    Raises DataError `empty_side` or `identical`, and ValueError if the prompts differ.
    """
    prompt = chosen.tokens[chosen.loss == 0]
    if not np.array_equal(prompt, rejected.tokens[rejected.loss == 0]):
        raise ValueError("the two samples have different prompts")
    sides = [sample.tokens[sample.loss == 1] for sample in (chosen, rejected)]
    a, b = (_parts(side, vocabulary) for side in sides)
    if a.empty or b.empty:
        raise DataError("empty_side", f"nothing is said in the {'chosen' if a.empty else 'rejected'} answer")
    text, audio = not np.array_equal(a.text, b.text), not np.array_equal(a.codes, b.codes)
    if not text and not audio:
        raise DataError("identical", "chosen and rejected are the same")
    messages = chosen.record["messages"]
    pair_fields = {
        "schema_version": SCHEMA_VERSION,
        "family": "preference",
        "messages": messages[:-1],
        "chosen": messages[-1],
        "rejected": rejected.record["messages"][-1],
        "differs_in": "both" if text and audio else "text" if text else "audio",
        "preference": provenance,
    }
    return Pair(key or _key(prompt, sides, provenance), chosen.record | pair_fields, prompt, *sides)


def _key(prompt: Ids, sides: Sequence[Ids], provenance: dict[str, Any]) -> str:
    both = hashlib.sha256(b"|".join(side.tobytes() for side in sides)).hexdigest()
    return f"{hashlib.sha256(prompt.tobytes()).hexdigest()[:16]}-{provenance['source']}-{both[:16]}"


def prompt_group(pair: Pair, vocabulary: Vocabulary) -> str:
    """Pairs of the same group go to the same split. It is a hash of the prompt without its system message,
    whose wording is drawn for each sample."""
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
    """Text ids and codes of a side, without audio markers and EOT."""
    text = vocabulary.modality(side) == Modality.TEXT
    marker = np.isin(side, (vocabulary.audio_start, vocabulary.audio_end, vocabulary.eot))
    words, codes = side[text & ~marker], side[~text]
    return _Parts(words, codes, not len(codes) and not vocabulary.decode(words).strip())
