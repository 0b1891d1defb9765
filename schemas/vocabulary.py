"""The ids of a sequence: a text tokenizer's own, the markers it lacks, then the codes of both codebooks.

Text is words and nothing else: a literal `<|EOT|>` or `<audio_5>` that somebody said is spelled out in
ordinary text ids, whatever tokens the tokenizer knows.
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
"""Field of `Vocabulary` -> the name that a tokenizer would have for it."""


class Modality(IntEnum):
    TEXT = 0
    LINGUISTIC = 1
    SEMANTIC = 2


@dataclass(frozen=True)
class Vocabulary:
    """Where every id stands. Made by `of`, or by `embedded`, `extended` and `step1`."""

    name: str
    """`embedded`, `extended` or `step1`."""
    tokenizer_sha256: str
    """Of the tokenizer file as it lies on disk."""
    pad: int
    bos: int
    eos: int
    bot: int
    eot: int
    audio_start: int
    audio_end: int
    linguistic: int
    """Id of linguistic code 0; the semantic codes follow the linguistic ones."""
    size: int
    """All ids are below."""
    tokenizer_json: str = field(repr=False)
    """The tokenizer without its added tokens, so that no text can ask for one."""

    @classmethod
    def of(cls, name: str, path: Path) -> "Vocabulary":
        """The vocabulary of a name, from a tokenizer file or the folder that holds it."""
        made = {"embedded": cls.embedded, "extended": cls.extended, "step1": cls.step1}
        return made[name](path)

    @classmethod
    def embedded(cls, path: Path) -> "Vocabulary":
        """The plain text model of a tokenizer file, then all markers, then the codes.

        Added tokens (timestamps, languages and the like) get no ids at all.
        """
        document, sha256 = _load(path)
        text = max(_entries(document, path).values()) + 1
        return cls._appended("embedded", document, sha256, path, first=text, known={})

    @classmethod
    def extended(cls, path: Path) -> "Vocabulary":
        """A tokenizer with all its ids, then the markers that it lacks, then the codes."""
        document, sha256 = _load(path)
        entries = _entries(document, path) | _added(document)
        known = {special: entries[name] for special, name in SPECIALS.items() if name in entries}
        return cls._appended("extended", document, sha256, path, first=max(entries.values()) + 1, known=known)

    @classmethod
    def step1(cls, path: Path) -> "Vocabulary":
        """Step-1's ids, from the tokenizer file of the public checkpoint."""
        document, sha256 = _load(path)
        entries = _entries(document, path) | _added(document)
        ids = {"pad": 0, "bos": 1, "eos": 3}
        for special in ("bot", "eot", "audio_start", "audio_end"):
            if SPECIALS[special] not in entries:
                raise SetupError(
                    f"{path}: not Step-1's tokenizer: it has no token {SPECIALS[special]}. "
                    "Take the tokenizer of the public checkpoint, or the embedded vocabulary."
                )
            ids[special] = entries[SPECIALS[special]]
        if entries.get("<audio_0>", STEP1_AUDIO) != STEP1_AUDIO:
            raise SetupError(f"{path}: not Step-1's tokenizer: its <audio_0> is not {STEP1_AUDIO}.")
        return cls._checked("step1", document, sha256, path, ids, linguistic=STEP1_AUDIO, size=74752)

    @classmethod
    def _appended(
        cls, name: str, document: dict[str, Any], sha256: str, path: Path, first: int, known: dict[str, int]
    ) -> "Vocabulary":
        lacking = [special for special in SPECIALS if special not in known]
        ids = known | {special: first + n for n, special in enumerate(lacking)}
        linguistic = first + len(lacking)
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
        made = cls(name, sha256, **ids, linguistic=linguistic, size=size, tokenizer_json=json.dumps(bare))
        try:
            spelled = made.encode(_PROBE)
        except Exception as error:
            raise SetupError(f"{path}: no tokenizer that works without its added tokens: {error}") from None
        if made.decode(spelled) != _PROBE:
            raise SetupError(
                f"{path}: this tokenizer can't write every text back (it has an unknown token or changes "
                "the text). Take a byte-level one."
            )
        if set(spelled.tolist()) & set(ids.values()) or made.modality(spelled).any():
            raise SetupError(f"{path}: this tokenizer turns words into markers: their ids are not apart.")
        return made

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.tokenizer_json)

    def encode(self, text: str) -> Ids:
        """Text ids [n]. Raises DataError for a text that is no valid unicode (a lone surrogate)."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError("not_unicode", "the text holds half a character (a lone surrogate)") from None
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)

    def decode(self, ids: ArrayLike) -> str:
        """The inverse of `encode`; exact for byte-level tokenizers, given all ids of the text at once."""
        return str(self._tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=False))

    @property
    def semantic(self) -> int:
        """Id of semantic code 0."""
        return self.linguistic + LINGUISTIC_CODES

    def modality(self, ids: ArrayLike) -> NDArray[np.uint8]:
        """The `Modality` of every id [n], from the id alone; markers count as text."""
        ids = np.asarray(ids)
        code = (ids >= self.linguistic) & (ids < self.semantic + SEMANTIC_CODES)
        return (code * (1 + (ids >= self.semantic))).astype(np.uint8)

    def describe(self) -> dict[str, Any]:
        """What a reader of the ids must know, for the manifest; `sha256` stands for all of it."""
        described = {
            "name": self.name,
            "tokenizer_sha256": self.tokenizer_sha256,
            "specials": {special: getattr(self, special) for special in SPECIALS},
            "linguistic": {"first": self.linguistic, "codes": LINGUISTIC_CODES},
            "semantic": {"first": self.semantic, "codes": SEMANTIC_CODES},
            "size": self.size,
        }
        return described | {"sha256": hashlib.sha256(json.dumps(described).encode()).hexdigest()}


_PROBE = (
    "Words, 语音 и слова é 🎙\n <|EOT|> <|endoftext|> <|0.00|> <audio_5> "
    + " ".join(SPECIALS.values())
    + "".join(map(chr, range(0x21, 0x7F)))
)
"""Letters of many alphabets and the names of markers, which every tokenizer must write back as they are."""


def _load(path: Path) -> tuple[dict[str, Any], str]:
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        raw = file.read_bytes()
        document = json.loads(raw)
    except (OSError, ValueError) as error:
        raise SetupError(f"{file}: not a readable tokenizer.json: {error}") from None
    return document, hashlib.sha256(raw).hexdigest()


def _entries(document: dict[str, Any], path: Path) -> dict[str, int]:
    """Token -> id of the text model itself."""
    vocab = document.get("model", {}).get("vocab") if isinstance(document, dict) else None
    if isinstance(vocab, dict) and vocab:
        return vocab
    if isinstance(vocab, list) and vocab:  # Unigram: (token, score) by id
        return {token: n for n, (token, _) in enumerate(vocab)}
    raise SetupError(f"{path}: this tokenizer.json names no vocabulary.")


def _added(document: dict[str, Any]) -> dict[str, int]:
    added: Iterable[dict[str, Any]] = document.get("added_tokens") or ()
    return {token["content"]: token["id"] for token in added}
