"""Spoken questions answered one after another: tokenizer, backbone, and a voice where there is one."""

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
    voice: AnswerVocoder | None = None
    system: str | None = None
    history: History | None = None

    def prompt(self, question: Codes) -> Ids:
        system = [] if self.system is None else [PromptMessage("system", (self.system,))]
        before = self.history.messages if self.history else []
        return prompt([*system, *before, PromptMessage("human", (question,))], self.answerer.vocabulary)

    def ask(self, question: Tokenized) -> "Iterator[TextPiece | CodeGroup | AudioChunk | Answer]":
        """The answer as it comes; when it ends, the history has it. Raises DataError `too_long`."""
        from stages.train.sampling import Answer

        known = written_text(question.file) if self.history else None
        events = self.answerer.answer(self.prompt(question.codes), self.form, self.sampling)
        for event in self.voice.speak(events, self.sampling.seed) if self.voice else events:
            if isinstance(event, Answer) and self.history and (event.text.strip() or event.voices):
                asked = PastTurn.of(known[0] if known else "", [question.codes])
                self.history.add(asked, PastTurn.of(event.text, event.voices))
            yield event

    def hear(self, question: str) -> Tokenized:
        """The codes of a question. Raises DataError for a file that can't be used."""
        return tokenize_question(self.answerer, question)
