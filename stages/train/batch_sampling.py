"""Answers to many prompts at once: the weights are read once for a step of all, not once for each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from schemas.vocabulary import Ids, Vocabulary
from stages.train.batch_cache import BatchReader
from stages.train.cache import Step1Reader
from stages.train.grammar import Form
from stages.train.model import Step1
from stages.train.sampling import Answer, Sampling, Writer

ROWS = 32
"""Answers that are written at a time."""


@dataclass(frozen=True)
class Question:
    """A prompt and the settings of each of its answers."""

    prompt: Ids
    samplings: Sequence[Sampling]


@dataclass(frozen=True)
class _Row:
    question: int
    number: int
    """Of the answer among those to its question."""
    writer: Writer


def answers(
    model: Step1, questions: Iterable[Question], vocabulary: Vocabulary, form: Form, rows: int = ROWS
) -> Iterator[list[Answer]]:
    """The answers to each question, in order; questions are taken as there is room for them.

    Every answer has its own seed and its own state, so it is the answer that `sampling.answer` gives alone,
    whichever others are written at the same time, as far as sums in another order of floats round alike.
    """
    batch = BatchReader(model, rows)
    joining = _sequences(model, questions, vocabulary, form)
    written: list[_Row] = []
    ids: list[int] = []
    """The last id of each row, which is still to be read."""
    found: dict[int, list[Answer | None]] = {}
    done = 0
    while True:
        while len(written) < rows and (sequence := next(joining, None)):
            row, count, reader, last = sequence
            found.setdefault(row.question, [None] * count)
            batch.join(reader)
            written.append(row)
            ids.append(last)
        if not written:
            return
        ids = [
            row.writer.write(logits_V) for row, logits_V in zip(written, batch.read(ids).cpu(), strict=True)
        ]
        # From the last, so that a row which takes the place of another is one that goes on.
        for at in reversed([at for at, row in enumerate(written) if row.writer.ended]):
            row = written[at]
            found[row.question][row.number] = row.writer.answer()
            batch.leave(at)
            written[at], ids[at] = written[-1], ids[-1]
            written.pop()
            ids.pop()
        while done in found and None not in found[done]:
            yield [one for one in found.pop(done) if one]
            done += 1


def _sequences(
    model: Step1, questions: Iterable[Question], vocabulary: Vocabulary, form: Form
) -> Iterator[tuple[_Row, int, Step1Reader, int]]:
    """For each answer to be written: its row, the number of answers to its question, a reader that has read
    the prompt but its last id, and that id. A prompt is read once."""
    for index, question in enumerate(questions):
        reader = Step1Reader(model)
        *earlier, last = question.prompt.tolist()
        if earlier:
            reader.read(earlier)
        for number, sampling in enumerate(question.samplings):
            row = _Row(index, number, Writer(question.prompt, vocabulary, form, sampling))
            yield row, len(question.samplings), reader, last
