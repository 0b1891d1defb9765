"""Families built from a question and its answer, with the earlier turns of the conversation as text.

tqta    text question -> text answer
aqta    spoken question -> text answer
taqta   spoken question -> the question's text, then the text answer
aqtaa   spoken question -> text and speech of the answer, interleaved
dialect the same, after an instruction that names the dialect or language of the answer
"""

from dataclasses import replace

from schemas.errors import DataError
from schemas.sample import Message, Speech, Text
from stages.compose.config import ComposeConfig
from stages.compose.source import SampleSource, SourceSpan
from stages.compose.wording import dialect_in_words, words_of

Messages = tuple[Message, ...]
Part = Text | Speech


def tqta(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    question, answer = _exchange(source)
    return chat(key, source, config, (question.text,), (answer.text,))


def aqta(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    question, answer = _exchange(source)
    return chat(key, source, config, (question.speech,), (answer.text,))


def taqta(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    question, answer = _exchange(source)
    transcript = Text(f"{question.text.text}\n")
    return chat(key, source, config, (question.speech,), (transcript, answer.text))


def aqtaa(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    question, answer = _exchange(source)
    return chat(key, source, config, (question.speech,), (answer.text, answer.speech), interleaved=True)


def dialect(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    """As `aqtaa`, where the answer is in a dialect, or in another language than its question.

    Raises DataError `no_dialect` where it is in neither, `no_instruction` if the recipe can't name it.
    """
    question, answer = _exchange(source)
    transcript = question.turn.transcript if question.turn else None
    asked_in = transcript.language if transcript else source.language
    name = answer.labels.get("dialect") or (source.language if source.language != asked_in else None)
    if name is None:
        raise DataError(
            "no_dialect", "the answer is in no known dialect, and in the language of its question"
        )
    template = replace(source, language=asked_in).choose(config.dialect_instructions, key)
    named = dialect_in_words(name, words_of(asked_in, config))
    if template is None or named is None:
        raise DataError("no_instruction", f"compose.style_words has no name for {name} in this language")
    parts: tuple[Part, ...] = (Text(template.replace("{dialect}", named)), question.speech)
    asked = parts[1:] if source.asks_aloud else parts
    return chat(key, source, config, asked, (answer.text, answer.speech), interleaved=True)


def _exchange(source: SampleSource) -> tuple[SourceSpan, SourceSpan]:
    (answer,) = source.answer
    if source.question is None:
        raise ValueError(f"sample source {source.key} has no question")
    return source.question, answer


def chat(
    key: str,
    source: SampleSource,
    config: ComposeConfig,
    question: tuple[Part, ...],
    answer: tuple[Part, ...],
    interleaved: bool = False,
) -> Messages:
    """The messages of a conversation: system prompt (if any), earlier turns, question and answer."""
    system = source.system or source.choose(config.system_prompts, key)
    return (
        *([Message("system", (Text(system),))] if system else []),
        *source.history,
        Message("human", question),
        Message("assistant", answer, interleaved),
    )
