"""An answerer whose model runs behind an OpenAI-compatible server: its vocabulary and tokenizers are here."""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from pipeline.inference.answerer import Answerer, AnswersInSteps, answerer_in, open_answerer
from pipeline.models import located
from schemas.errors import SetupError
from schemas.vocabulary import Ids
from stages.connection import ApiKey
from stages.endpoint import EndpointConfig

if TYPE_CHECKING:
    from stages.train.batch_sampling import Question
    from stages.train.completions import CompletionServer
    from stages.train.grammar import Form
    from stages.train.sampling import Answer, CodeGroup, Sampling, TextPiece

AT_A_TIME = 16
"""Answers to a question that are asked for at once; the server batches them."""
STEP_SECONDS = 0.1
"""Longest step, so that new and cancelled requests don't wait for a server that is silent."""


@dataclass(frozen=True)
class ModelEndpoint:
    """Where a model runs."""

    config: EndpointConfig
    key: ApiKey

    @classmethod
    def of(
        cls, address: str, key_file: Path | None = None, retries: int = 3, **settings: Any
    ) -> "ModelEndpoint":
        """Of `URL[#MODEL]`; without a model, the first that the server names. Without a file, the environment
        has the key. Raises SetupError."""
        url, _, model = address.partition("#")
        config = EndpointConfig(url=url, model=model, retries=retries, **settings)
        key = ApiKey.of_variable(config.key_variable) if key_file is None else ApiKey.of_file(key_file)
        return cls(config, key)


def open_answerer_at(
    endpoint: ModelEndpoint | None,
    checkpoint: Path,
    tokenizer: str | None = None,
    vocabulary: str | None = None,
    tensor_parallel: int = 1,
) -> Answerer:
    """`open_answerer`, but with an endpoint the model runs there, and its weights aren't loaded.

    Raises SetupError if the server can't be used, too.
    """
    if endpoint is None:
        return open_answerer(checkpoint, tokenizer, vocabulary, tensor_parallel)
    import torch

    from stages.train.backbone import blank
    from stages.train.completions import CompletionServer

    checkpoint = located(str(checkpoint))
    with torch.device("meta"):
        model = blank(checkpoint)
    local = answerer_in(checkpoint, tokenizer, vocabulary)(model, None)
    words = local.vocabulary
    server = CompletionServer(endpoint.config, endpoint.key, words.eot, words.linguistic)
    unheld = f"{server.address} can't be told which tokens may follow: its answers are only checked"
    note = None if server.can_be_held else unheld
    return RemoteAnswerer(**vars(local) | {"note": note}, server=server)


@dataclass(frozen=True, kw_only=True)
class RemoteAnswerer(Answerer):
    server: "CompletionServer"

    @property
    def context(self) -> int:
        return min(self.model.shape.context, self.server.context or self.model.shape.context)

    def answer(
        self, prompt: Ids, form: "Form", sampling: "Sampling"
    ) -> "Generator[TextPiece | CodeGroup | Answer, None, None]":
        """As of a local model. Raises RemoteError too."""
        from stages.train.remote_answer import remote_answer

        return remote_answer(
            self.server, prompt, self.vocabulary, form, self.fit_to_context(prompt, sampling)
        )

    def answers(self, questions: "Iterable[Question]", form: "Form") -> "Iterator[list[Answer]]":
        """The answers to each question, in order. Raises SetupError for the first that fails."""
        from stages.train.remote_answer import RemoteError
        from stages.train.sampling import answered

        with ThreadPoolExecutor(AT_A_TIME) as threads:
            for question in questions:
                events = [self.answer(question.prompt, form, sampling) for sampling in question.samplings]
                try:
                    yield list(threads.map(answered, events))
                except RemoteError as error:
                    raise SetupError(error.message) from None

    def batch(self, rows: int) -> AnswersInSteps:
        return RemoteAnswers(self)


class RemoteAnswers:
    """A step waits until something has arrived for any answer."""

    def __init__(self, answerer: RemoteAnswerer) -> None:
        self._answerer = answerer
        self._arrived = Event()

    def answer(
        self, prompt: Ids, form: "Form", sampling: "Sampling"
    ) -> "Generator[TextPiece | CodeGroup | Answer | None, None, None]":
        from stages.train.sampling import Answer

        stream = _Stream(self._answerer.answer(prompt, form, sampling), self._arrived)
        with closing(stream):
            yield None  # the prompt is taken
            while True:
                event = stream.next()
                yield event
                if isinstance(event, Answer):
                    return

    def step(self) -> None:
        self._arrived.wait(STEP_SECONDS)
        self._arrived.clear()


class _Stream:
    """The events of an answer, read in a thread of their own."""

    def __init__(
        self, events: "Generator[TextPiece | CodeGroup | Answer, None, None]", arrived: Event
    ) -> None:
        self._events = events
        self._arrived = arrived
        self._ready: SimpleQueue[TextPiece | CodeGroup | Answer | Exception] = SimpleQueue()
        self._closed = False
        Thread(target=self._run, name="remote answer", daemon=True).start()

    def next(self) -> "TextPiece | CodeGroup | Answer | None":
        """None: nothing has arrived. Raises what reading raised."""
        try:
            event = self._ready.get_nowait()
        except Empty:
            return None
        if isinstance(event, Exception):
            raise event
        return event

    def close(self) -> None:
        """Leave the server at its next event."""
        self._closed = True

    def _run(self) -> None:
        with closing(self._events):
            try:
                for event in self._events:
                    self._put(event)
                    if self._closed:
                        break
            except Exception as error:
                self._put(error)

    def _put(self, event: "TextPiece | CodeGroup | Answer | Exception") -> None:
        self._ready.put(event)
        self._arrived.set()
