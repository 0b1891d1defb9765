"""Answers to many prompts at once: the weights are read once for a step of all, not once for each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from schemas.vocabulary import Ids, Vocabulary
from stages.train.backbone import reader_of
from stages.train.batch_cache import BatchReader, OneByOneReader
from stages.train.cache import Reader
from stages.train.grammar import Form
from stages.train.model import Backbone, Step1
from stages.train.sampling import Answer, Sampling, Writer
from stages.train.split_model import SplitBatchReader, SplitStep1

ROWS = 32
"""Answers that are written at a time."""


@dataclass(frozen=True)
class Question:
    """A prompt and the settings of each of its answers."""

    prompt: Ids
    samplings: Sequence[Sampling]


class AnswerBatch:
    """Answers that are written at the same time; each joins and leaves between any two steps."""

    def __init__(self, model: Backbone, rows: int) -> None:
        """`rows` is the most answers at a time. A model with a cache of its own reads them one by one."""
        self._reader = _batch_reader_of(model, rows)
        self.writers: list[Writer] = []

    def join(self, reader: Reader, writer: Writer) -> None:
        """Add an answer; `reader` has read its prompt but the last id."""
        self._reader.join(reader)
        self.writers.append(writer)

    def leave(self, writer: Writer) -> None:
        at = self.writers.index(writer)
        self._reader.leave(at)
        self.writers[at] = self.writers[-1]
        self.writers.pop()

    def step(self) -> None:
        """Write the next id of all answers, of which none has ended."""
        logits_BV = self._reader.read([writer.last for writer in self.writers]).cpu()
        for writer, logits_V in zip(self.writers, logits_BV, strict=True):
            writer.write(logits_V)


def _batch_reader_of(model: Backbone, rows: int) -> BatchReader | SplitBatchReader | OneByOneReader:
    if isinstance(model, SplitStep1):
        return SplitBatchReader(model.processes, rows)
    return BatchReader(model, rows) if isinstance(model, Step1) else OneByOneReader()


def answers(
    model: Backbone, questions: Iterable[Question], vocabulary: Vocabulary, form: Form, rows: int = ROWS
) -> Iterator[list[Answer]]:
    """The answers to each question, in order; questions are taken as there is room for them.

    Every answer has its own seed and its own state, so it is the answer that `sampling.answer` gives alone,
    whichever others are written at the same time, as far as sums in another order of floats round alike.
    """
    batch = AnswerBatch(model, rows)
    joining = _sequences(model, questions, vocabulary, form)
    place: dict[Writer, tuple[int, int]] = {}
    """Of each answer: its question, and its number among the answers to that."""
    found: dict[int, list[Answer | None]] = {}
    done = 0
    while True:
        while len(batch.writers) < rows and (sequence := next(joining, None)):
            question, number, count, reader, writer = sequence
            found.setdefault(question, [None] * count)
            place[writer] = question, number
            batch.join(reader, writer)
        if not batch.writers:
            return
        batch.step()
        for writer in [writer for writer in batch.writers if writer.ended]:
            batch.leave(writer)
            question, number = place.pop(writer)
            found[question][number] = writer.answer()
        while done in found and None not in found[done]:
            yield [one for one in found.pop(done) if one]
            done += 1


def _sequences(
    model: Backbone, questions: Iterable[Question], vocabulary: Vocabulary, form: Form
) -> Iterator[tuple[int, int, int, Reader, Writer]]:
    """For each answer to be written: its question, its number and the count of its answers, a reader that has
    read the prompt but its last id, and its writer. A prompt is read once."""
    for index, question in enumerate(questions):
        reader = reader_before_last(model, question.prompt)
        for number, sampling in enumerate(question.samplings):
            writer = Writer(question.prompt, vocabulary, form, sampling)
            yield index, number, len(question.samplings), reader, writer


def reader_before_last(model: Backbone, prompt: Ids) -> Reader:
    """A reader that has read a prompt but its last id."""
    reader = reader_of(model)
    if len(prompt) > 1:
        reader.read(prompt[:-1].tolist())
    return reader
