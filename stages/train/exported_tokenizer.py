"""The text tokenizer beside a checkpoint's weights, as `AutoTokenizer` opens it: with markers and audio ids
as tokens, and the chat template."""

import json
from pathlib import Path

from schemas.errors import SetupError
from schemas.vocabulary import LINGUISTIC_CODES, NO_ID, SEMANTIC_CODES, SPECIALS, Vocabulary

_TEMPLATE = """\
{{ START }}{% if messages[0].role != 'system' %}{{ SYSTEM }}{% endif %}\
{% for message in messages %}BOT{{ 'human' if message.role == 'user' else message.role }}
{{ message.content }}EOT{% endfor %}{% if add_generation_prompt %}BOTassistant
{% endif %}"""


def write_tokenizer(vocabulary: Vocabulary, directory: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json. Raises SetupError if the ids of the vocabulary leave
    gaps, which such a file can't express."""
    from tokenizers import Tokenizer

    document = json.loads(vocabulary.tokenizer_json)
    text_ids: dict[str, int] = document["model"]["vocab"]
    name_of = {id: token for token, id in text_ids.items()} if isinstance(text_ids, dict) else {}
    names = {
        special: name_of.get(id, SPECIALS[special])
        for special in SPECIALS
        if (id := getattr(vocabulary, special)) != NO_ID
    }
    ids = {name: getattr(vocabulary, special) for special, name in names.items()}
    ids |= {f"<audio_{n}>": vocabulary.linguistic + n for n in range(LINGUISTIC_CODES + SEMANTIC_CODES)}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    document["added_tokens"] = [
        {"id": id, "content": name, **plain, "special": True}
        for name, id in sorted(ids.items(), key=lambda item: item[1])
    ]
    content = json.dumps(document, ensure_ascii=False)
    tokenizer = Tokenizer.from_str(content)
    if any(tokenizer.token_to_id(name) != id for name, id in ids.items()):
        raise SetupError("the ids of the vocabulary leave gaps, which a tokenizer.json can't express")
    (directory / "tokenizer.json").write_text(content, encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": names["pad"],
        "bos_token": names["bos"],
        "eos_token": names["eot"],
        "clean_up_tokenization_spaces": False,
        "chat_template": chat_template(vocabulary, names),
    }
    config = directory / "tokenizer_config.json"
    config.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def chat_template(vocabulary: Vocabulary, names: dict[str, str]) -> str:
    """The layout of chats as a template of text messages; `names` are those of the markers."""
    options = vocabulary.options
    system = options.default_system
    turn = "" if system is None else f"{names['bot']}system\n{system}{names['eot']}"
    template = _TEMPLATE.replace("BOT", names["bot"]).replace("EOT", names["eot"])
    template = template.replace("{{ SYSTEM }}", _literal(turn))
    return template.replace("{{ START }}", _literal(names["bos"] if options.chat_bos else ""))


def _literal(text: str) -> str:
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""
