"""Checkpoints of the public Step-Audio models, which say nothing of the ids that they were trained on.

Their layout is the family's: a SentencePiece model beside the weights, chats that begin with BOS, and audio
ids without markers. A system prompt that their chat template puts where a conversation has none is kept.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from schemas.errors import SetupError
from schemas.vocabulary import STEP1_AUDIO, STEP1_FILES, STEP1_OPTIONS, Vocabulary
from stages.train.checkpoint import is_step1, read_shape

SPEECH_TOKENIZER = "step-audio-tokenizer"
"""Short name of the speech tokenizer that made the codes of all of them."""

_SYSTEM = re.compile(r"<\|BOT\|>system\n(.*?)<\|EOT\|>", re.DOTALL)


def public_vocabulary(directory: Path) -> Vocabulary | None:
    """The vocabulary of a Step-1 checkpoint that records none; None if it has no tokenizer either."""
    has_tokenizer = any((directory / name).exists() for name in STEP1_FILES)
    if not is_step1(directory) or not has_tokenizer or read_shape(directory).vocabulary <= STEP1_AUDIO:
        return None
    options = replace(STEP1_OPTIONS, audio_markers=False, default_system=_default_system(directory))
    return Vocabulary.of("step1", directory, options)


def _default_system(directory: Path) -> str | None:
    """What the chat template of a folder puts into the system turn of a conversation that has none."""
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    messages = [{"role": "human", "content": "?"}]
    try:
        template = _chat_template(directory)
        if template is None:
            return None
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        text = environment.from_string(template).render(messages=messages, add_generation_prompt=True)
    except (TemplateError, OSError, AttributeError, TypeError, ValueError) as error:
        raise SetupError(f"{directory}: its chat template can't be used: {error}") from None
    found = _SYSTEM.search(text)
    return found[1] if found else None


def _chat_template(directory: Path) -> str | None:
    alone, config = directory / "chat_template.jinja", directory / "tokenizer_config.json"
    if alone.exists():
        return alone.read_text(encoding="utf-8")
    if not config.exists():
        return None
    settings: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    template = settings.get("chat_template")
    return template if isinstance(template, str) else None
