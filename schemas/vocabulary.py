"""The vocabulary: the ids of a text tokenizer, then the markers it lacks, then the codes of both codebooks.

Text is never parsed for special tokens: a literal `<|EOT|>` or `<audio_5>` in it is encoded as ordinary text
ids, even if the tokenizer has such a token.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.errors import DataError, SetupError
from schemas.sentencepiece import tokenizer_document

LINGUISTIC_CODES = 1024
SEMANTIC_CODES = 4096
STEP1_IDS = {"pad": 0, "bos": 1, "eos": 2, "eot": 3, "bot": 4}
STEP1_AUDIO = 65536
"""Id of `<audio_0>` in the tokenizers of the public Step-Audio models."""
STEP1_SIZE = 74752
NO_ID = -1
"""In place of the id of a marker that a vocabulary doesn't have."""

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
class LayoutOptions:
    """How sequences of a vocabulary are laid out, where families of models differ."""

    chat_bos: bool = False
    """A chat begins with BOS."""
    audio_markers: bool = True
    """An audio span stands between `<audio_start>` and `<audio_end>`; without them codes stand bare."""
    prefix_newline: bool = False
    """Content is encoded behind a `\\n`, cut off again, so that SentencePiece puts no space before it."""
    default_system: str | None = None
    """System prompt of chats that have none; None: they stay without one."""


STEP1_OPTIONS = LayoutOptions(chat_bos=True, prefix_newline=True)


@dataclass(frozen=True)
class Vocabulary:
    """Ids of text, markers and codes. Constructed by `of`, one of the presets it names, or `described`."""

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
    """`NO_ID` in a vocabulary without audio markers, as is `audio_end`."""
    audio_end: int
    linguistic: int
    """Id of linguistic code 0. The semantic codes follow the linguistic ones."""
    size: int
    """One more than the highest id."""
    tokenizer_json: str = field(repr=False)
    """The tokenizer without its added tokens, so that no text is encoded as one."""
    options: LayoutOptions = LayoutOptions()

    @classmethod
    def of(cls, name: str, path: Path, options: LayoutOptions | None = None) -> "Vocabulary":
        """The vocabulary called `name`, from a tokenizer file or the folder that contains it; without
        `options` it has those of its preset."""
        constructors = {"embedded": cls.embedded, "extended": cls.extended, "step1": cls.step1}
        vocabulary = constructors[name](path)
        return vocabulary if options is None else vocabulary._with(options, path)

    @classmethod
    def described(cls, description: Mapping[str, Any], path: Path) -> "Vocabulary":
        """The vocabulary of a description (`describe`) and its tokenizer. Raises SetupError if the tokenizer
        is another one."""
        document, sha256 = _load(path, STEP1_FILES if description["name"] == "step1" else _FILES)
        if sha256 != description["tokenizer_sha256"]:
            raise SetupError(
                f"{path}: this is another text tokenizer ({sha256[:12]}) than the one of the ids "
                f"({description['tokenizer_sha256'][:12]})"
            )
        ids = {special: description["specials"].get(special, NO_ID) for special in SPECIALS}
        options = LayoutOptions(**description.get("options", {}))
        first, size = description["linguistic"]["first"], description["size"]
        return cls._checked(description["name"], document, sha256, path, ids, first, size, options)

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
        """The ids of the public Step-Audio models, from their `tokenizer.model`.

        Audio markers that the tokenizer doesn't name get the first two ids after the codes.
        """
        document, sha256 = _load(path, STEP1_FILES)
        tokens = _model_tokens(document, path) | _added_tokens(document) | _tokens_beside(path)
        named = {SPECIALS[special]: id for special, id in STEP1_IDS.items() if special != "pad"}
        for name, id in {**named, "<audio_0>": STEP1_AUDIO}.items():
            if tokens.get(name, id) != id:
                raise SetupError(
                    f"{path}: not the tokenizer of Step-1: its {name} is {tokens[name]}, not {id}."
                )
        if max(_model_tokens(document, path).values()) >= STEP1_AUDIO:
            raise SetupError(f"{path}: not the tokenizer of Step-1: it has ids of text above {STEP1_AUDIO}.")
        first_free = STEP1_AUDIO + LINGUISTIC_CODES + SEMANTIC_CODES
        markers = {
            special: tokens.get(SPECIALS[special], first_free + n)
            for n, special in enumerate(("audio_start", "audio_end"))
        }
        ids = STEP1_IDS | markers
        return cls._checked("step1", document, sha256, path, ids, STEP1_AUDIO, STEP1_SIZE, STEP1_OPTIONS)

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
        options: LayoutOptions = LayoutOptions(),
    ) -> "Vocabulary":
        bare = {**document, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        vocabulary = cls(
            name,
            sha256,
            **ids,
            linguistic=linguistic,
            size=size,
            tokenizer_json=json.dumps(bare),
            options=options,
        )
        vocabulary._check(path)
        return vocabulary

    def _with(self, options: LayoutOptions, path: Path) -> "Vocabulary":
        start, end = (self.audio_start, self.audio_end) if options.audio_markers else (NO_ID, NO_ID)
        changed = replace(self, options=options, audio_start=start, audio_end=end)
        changed._check(path)
        return changed

    def _check(self, path: Path) -> None:
        """Raise SetupError if texts can't be encoded and read back."""
        for probe in (_PROBE, f"\n{_PROBE}"):
            try:
                encoded = self.encode(probe)
            except Exception as error:
                raise SetupError(f"{path}: this tokenizer fails without its added tokens: {error}") from None
            if self.decode(encoded) != probe:
                raise SetupError(
                    f"{path}: this tokenizer doesn't reproduce every text (it has an unknown token or "
                    "changes the text). Use a byte-level one."
                )
            markers = {getattr(self, special) for special in SPECIALS}
            if set(encoded.tolist()) & markers or self.modality(encoded).any():
                raise SetupError(f"{path}: this tokenizer encodes text with the ids of markers or codes.")

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.tokenizer_json)

    @cached_property
    def _newline(self) -> list[int]:
        """What is put before content to encode and decode it."""
        return self.encode_whole("\n").tolist() if self.options.prefix_newline else []

    def encode(self, text: str) -> Ids:
        """Ids [n] of a text of a message. Raises DataError if it is not valid Unicode (it has an unpaired
        surrogate)."""
        if not self.options.prefix_newline:
            return self.encode_whole(text)
        return self.encode_whole(f"\n{text}")[len(self._newline) :]

    def encode_whole(self, text: str) -> Ids:
        """Ids [n] of a text that begins a line, such as a role: nothing is put before it and cut off."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError("not_unicode", "the text contains an unpaired surrogate") from None
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)

    def decode(self, ids: ArrayLike) -> str:
        """The inverse of `encode`, given all ids of a text at once."""
        whole = str(
            self._tokenizer.decode(self._newline + np.asarray(ids).tolist(), skip_special_tokens=False)
        )
        return whole[1:] if self.options.prefix_newline else whole

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
            "specials": {name: id for name in SPECIALS if (id := getattr(self, name)) != NO_ID},
            "linguistic": {"first": self.linguistic, "codes": LINGUISTIC_CODES},
            "semantic": {"first": self.semantic, "codes": SEMANTIC_CODES},
            "size": self.size,
        }
        if self.options != LayoutOptions():
            description["options"] = asdict(self.options)
        return description | {"sha256": hashlib.sha256(json.dumps(description).encode()).hexdigest()}


_PROBE = (
    "Words, 语音 и слова é 🎙\n <|EOT|> <|endoftext|> <|0.00|> <audio_5> "
    + " ".join(SPECIALS.values())
    + "".join(map(chr, range(0x21, 0x7F)))
)
"""Letters of several alphabets and names of markers, which a tokenizer must reproduce exactly."""


_SENTENCEPIECE, _CONFIG = "tokenizer.model", "tokenizer_config.json"
_FILES = ("tokenizer.json", _SENTENCEPIECE)
STEP1_FILES = (_SENTENCEPIECE, "tokenizer.json")
"""Names of a tokenizer's file in a folder; the first that exists is read."""


def _load(path: Path, names: tuple[str, ...] = _FILES) -> tuple[dict[str, Any], str]:
    folder = path.parent if path.name == _CONFIG else path
    file = folder
    if folder.is_dir():
        file = next((folder / name for name in names if (folder / name).exists()), folder / names[0])
    try:
        raw = file.read_bytes()
        document = tokenizer_document(raw) if file.name == _SENTENCEPIECE else json.loads(raw)
    except (OSError, ValueError) as error:
        kind = file.name if file.name in names else names[0]
        raise SetupError(f"{file}: not a readable {kind}: {error}") from None
    return document, hashlib.sha256(raw).hexdigest()


def _tokens_beside(path: Path) -> dict[str, int]:
    """Token -> id of the added tokens in the `tokenizer_config.json` beside a tokenizer."""
    file = (path if path.is_dir() else path.parent) / _CONFIG
    try:
        added = json.loads(file.read_text(encoding="utf-8")).get("added_tokens_decoder", {})
        return {token["content"]: int(id) for id, token in added.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SetupError(f"{file}: not a readable {_CONFIG}: {error}") from None


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
