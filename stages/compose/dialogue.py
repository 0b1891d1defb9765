"""Families built from a question and its answer, with the earlier turns of the conversation as text.

tqta    text question -> text answer
aqta    spoken question -> text answer
taqta   spoken question -> the question's text, then the text answer
aqtaa   spoken question -> text and speech of the answer, interleaved
"""

from schemas.sample import Message, Speech, Text
from stages.compose.config import ComposeConfig
from stages.compose.source import SampleSource, SourceSpan

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
