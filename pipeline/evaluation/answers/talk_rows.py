"""Rows of `aqaa-data init --talk` as rows of a benchmark."""

from typing import Any

from schemas.benchmark import BenchmarkRow, parse_row
from schemas.chat import parse
from schemas.errors import DataError

COLUMNS = {"messages", "family", "right"}


def is_talk(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= COLUMNS


def talk_question(fields: dict[str, Any], where: str) -> BenchmarkRow | None:
    """The question of a dialogue of one exchange; its answer is right in any of the right wordings.

    None for a dialogue of several: the turns of a benchmark are all asked, and the right answer to the last
    one would depend on what the model answers before. Raises DataError `bad_chat` or `bad_row`.
    """
    try:
        chat = parse(fields, where)
    except DataError as error:
        raise DataError(error.code, f"{where}: {error.message}") from None
    if [message.role for message in chat.messages] != ["human", "assistant"]:
        return None
    question, answer = chat.messages
    family, style = fields["family"], ", then ".join(chat.answer_styles)
    row = {
        "id": f"{str(family).replace(' ', '-')}-{chat.key}",
        "dimension": family,
        "turns": [{"text": question.text, "reference": answer.text}],
        "checks": [{"kind": "one_of", "any": fields["right"]}],
        "instruction": f"The answer is to be spoken in this style: {style}." if style else None,
        "language": fields.get("language"),
    }
    return parse_row(row, where)
