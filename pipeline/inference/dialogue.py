"""Spoken questions answered one after another: tokenizer, backbone and, for speech, a vocoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.inference.answer_vocoder import AnswerVocoder, AudioChunk
from pipeline.inference.answerer import Answerer, tokenize_question
from pipeline.inference.candidate_rows import written_text
from pipeline.inference.conversation import History, PastTurn, PromptMessage, prompt
from pipeline.inference.tokenize_files import Tokenized
from schemas.recording import Codes
from schemas.vocabulary import Ids

if TYPE_CHECKING:
    from stages.train.grammar import Form
    from stages.train.sampling import Answer, CodeGroup, Sampling, TextPiece


@dataclass(frozen=True)
class Dialogue:
    answerer: Answerer
    form: "Form"
    sampling: "Sampling"
    vocoder: AnswerVocoder | None = None
    system: str | None = None
    history: History | None = None

    def prompt(self, question: Codes) -> Ids:
        system = [] if self.system is None else [PromptMessage("system", (self.system,))]
        earlier = self.history.messages if self.history else []
        return prompt([*system, *earlier, PromptMessage("human", (question,))], self.answerer.vocabulary)

    def ask(self, question: Tokenized) -> "Iterator[TextPiece | CodeGroup | AudioChunk | Answer]":
        """Stream the answer; once it is complete it is in the history. Raises DataError `too_long`."""
        from stages.train.sampling import Answer

        written = written_text(question.file) if self.history else None
        events = self.answerer.answer(self.prompt(question.codes), self.form, self.sampling)
        for event in self.vocoder.speak(events, self.sampling.seed) if self.vocoder else events:
            if isinstance(event, Answer) and self.history and (event.text.strip() or event.voices):
                past_question = PastTurn.of(written[0] if written else "", [question.codes])
                self.history.add(past_question, PastTurn.of(event.text, event.voices))
            yield event

    def tokenize(self, question: str) -> Tokenized:
        """The codes of a question file. Raises DataError if it can't be used."""
        return tokenize_question(self.answerer, question)
