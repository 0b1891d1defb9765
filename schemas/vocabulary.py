"""The vocabulary: the ids of a text tokenizer, then the markers it lacks, then the codes of both codebooks.

Text is never parsed for special tokens: a literal `<|EOT|>` or `<audio_5>` in it is encoded as ordinary text
ids, even if the tokenizer has such a token.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.errors import DataError, SetupError

LINGUISTIC_CODES = 1024
SEMANTIC_CODES = 4096
STEP1_AUDIO = 65536
"""Id of `<audio_0>` in the public checkpoint's tokenizer."""

Ids = NDArray[np.int32]

SPECIALS = {
    "pad": "<pad>",
    "bos": "<s>",
    "eos": "</s>",
    "bot": "<|BOT|>",
    "eot": "<|EOT|>",
    "audio_start": "<audio_start>",
    "audio_end": "<audio_end>",
}
"""Field of `Vocabulary` -> name of that marker in a tokenizer."""


class Modality(IntEnum):
    TEXT = 0
    LINGUISTIC = 1
    SEMANTIC = 2


@dataclass(frozen=True)
class Vocabulary:
    """Ids of text, markers and codes. Constructed by `of`, `embedded`, `extended` or `step1`."""

    name: str
    """`embedded`, `extended` or `step1`."""
    tokenizer_sha256: str
    """Hash of the tokenizer file."""
    pad: int
    bos: int
    eos: int
    bot: int
    eot: int
    audio_start: int
    audio_end: int
    linguistic: int
    """Id of linguistic code 0. The semantic codes follow the linguistic ones."""
    size: int
    """One more than the highest id."""
    tokenizer_json: str = field(repr=False)
    """The tokenizer without its added tokens, so that no text is encoded as one."""

    @classmethod
    def of(cls, name: str, path: Path) -> "Vocabulary":
        """The vocabulary called `name`, from a tokenizer file or the folder that contains it."""
        constructors = {"embedded": cls.embedded, "extended": cls.extended, "step1": cls.step1}
        return constructors[name](path)

    @classmethod
    def embedded(cls, path: Path) -> "Vocabulary":
        """The text model of a tokenizer file, then all markers, then the codes.

        Added tokens (timestamps, languages and so on) get no ids.
        """
        document, sha256 = _load(path)
        first = max(_model_tokens(document, path).values()) + 1
        return cls._appended("embedded", document, sha256, path, first, existing={})

    @classmethod
    def extended(cls, path: Path) -> "Vocabulary":
        """A tokenizer with all of its ids, then the markers that it lacks, then the codes."""
        document, sha256 = _load(path)
        tokens = _model_tokens(document, path) | _added_tokens(document)
        existing = {special: tokens[name] for special, name in SPECIALS.items() if name in tokens}
        return cls._appended("extended", document, sha256, path, max(tokens.values()) + 1, existing)

    @classmethod
    def step1(cls, path: Path) -> "Vocabulary":
        """The ids of Step-1, from the tokenizer file of the public checkpoint."""
        document, sha256 = _load(path)
        tokens = _model_tokens(document, path) | _added_tokens(document)
        ids = {"pad": 0, "bos": 1, "eos": 3}
        for special in ("bot", "eot", "audio_start", "audio_end"):
            if SPECIALS[special] not in tokens:
                raise SetupError(
                    f"{path}: not the tokenizer of Step-1: it has no token {SPECIALS[special]}. "
                    "Use the tokenizer of the public checkpoint, or the embedded vocabulary."
                )
            ids[special] = tokens[SPECIALS[special]]
        if tokens.get("<audio_0>", STEP1_AUDIO) != STEP1_AUDIO:
            raise SetupError(f"{path}: not the tokenizer of Step-1: its <audio_0> is not {STEP1_AUDIO}.")
        return cls._checked("step1", document, sha256, path, ids, linguistic=STEP1_AUDIO, size=74752)

    @classmethod
    def _appended(
        cls,
        name: str,
        document: dict[str, Any],
        sha256: str,
        path: Path,
        first: int,
        existing: dict[str, int],
    ) -> "Vocabulary":
        missing = [special for special in SPECIALS if special not in existing]
        ids = existing | {special: first + n for n, special in enumerate(missing)}
        linguistic = first + len(missing)
        size = linguistic + LINGUISTIC_CODES + SEMANTIC_CODES
        return cls._checked(name, document, sha256, path, ids, linguistic, size)

    @classmethod
    def _checked(
        cls,
        name: str,
        document: dict[str, Any],
        sha256: str,
        path: Path,
        ids: dict[str, int],
        linguistic: int,
        size: int,
    ) -> "Vocabulary":
        bare = {**document, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        vocabulary = cls(
            name, sha256, **ids, linguistic=linguistic, size=size, tokenizer_json=json.dumps(bare)
        )
        try:
            encoded = vocabulary.encode(_PROBE)
        except Exception as error:
            raise SetupError(f"{path}: this tokenizer fails without its added tokens: {error}") from None
        if vocabulary.decode(encoded) != _PROBE:
            raise SetupError(
                f"{path}: this tokenizer doesn't reproduce every text (it has an unknown token or changes "
                "the text). Use a byte-level one."
            )
        if set(encoded.tolist()) & set(ids.values()) or vocabulary.modality(encoded).any():
            raise SetupError(f"{path}: this tokenizer encodes text with the ids of markers or codes.")
        return vocabulary

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.tokenizer_json)

    def encode(self, text: str) -> Ids:
        """Text ids [n]. Raises DataError if the text is not valid Unicode (it has an unpaired surrogate)."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError("not_unicode", "the text contains an unpaired surrogate") from None
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)

    def decode(self, ids: ArrayLike) -> str:
        """The inverse of `encode`, given all ids of a text at once."""
        return str(self._tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=False))

    @property
    def semantic(self) -> int:
        """Id of semantic code 0."""
        return self.linguistic + LINGUISTIC_CODES

    def modality(self, ids: ArrayLike) -> NDArray[np.uint8]:
        """The `Modality` of each id [n]. Markers count as text."""
        ids = np.asarray(ids)
        code = (ids >= self.linguistic) & (ids < self.semantic + SEMANTIC_CODES)
        return (code * (1 + (ids >= self.semantic))).astype(np.uint8)

    def describe(self) -> dict[str, Any]:
        """What is needed to read the ids, for the manifest; `sha256` is the hash of this description."""
        description = {
            "name": self.name,
            "tokenizer_sha256": self.tokenizer_sha256,
            "specials": {special: getattr(self, special) for special in SPECIALS},
            "linguistic": {"first": self.linguistic, "codes": LINGUISTIC_CODES},
            "semantic": {"first": self.semantic, "codes": SEMANTIC_CODES},
            "size": self.size,
        }
        return description | {"sha256": hashlib.sha256(json.dumps(description).encode()).hexdigest()}


_PROBE = (
    "Words, 语音 и слова é 🎙\n <|EOT|> <|endoftext|> <|0.00|> <audio_5> "
    + " ".join(SPECIALS.values())
    + "".join(map(chr, range(0x21, 0x7F)))
)
"""Letters of several alphabets and names of markers, which a tokenizer must reproduce exactly."""


def _load(path: Path) -> tuple[dict[str, Any], str]:
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        raw = file.read_bytes()
        document = json.loads(raw)
    except (OSError, ValueError) as error:
        raise SetupError(f"{file}: not a readable tokenizer.json: {error}") from None
    return document, hashlib.sha256(raw).hexdigest()


def _model_tokens(document: dict[str, Any], path: Path) -> dict[str, int]:
    """Token -> id in the text model, without added tokens."""
    vocab = document.get("model", {}).get("vocab") if isinstance(document, dict) else None
    if isinstance(vocab, dict) and vocab:
        return vocab
    if isinstance(vocab, list) and vocab:  # Unigram: (token, score) in the order of ids
        return {token: n for n, (token, _) in enumerate(vocab)}
    raise SetupError(f"{path}: this tokenizer.json has no vocabulary.")


def _added_tokens(document: dict[str, Any]) -> dict[str, int]:
    tokens: Iterable[dict[str, Any]] = document.get("added_tokens") or ()
    return {token["content"]: token["id"] for token in tokens}
