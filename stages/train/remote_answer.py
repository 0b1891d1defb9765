"""Answers of a model that runs elsewhere, within the layout's grammar.

The server draws freely, and each id is checked as it arrives. Only where one may not follow is the server
asked once more, for an id among those that may: together this draws as from the allowed ids alone. A model
that has learnt the layout needs one request an answer.
"""

import random
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from schemas.errors import DataError
from schemas.vocabulary import SPECIALS, Ids, Modality, Vocabulary
from stages.connection import RetryableError
from stages.endpoint import EndpointConfig
from stages.train.completions import CompletionServer
from stages.train.grammar import Form
from stages.train.sampling import Answer, CodeGroup, Sampling, TextPiece, Writer


class RemoteError(DataError):
    """The server that runs the model gave no answer, or one that can't be used."""


def remote_answer(
    server: CompletionServer, prompt: Ids, vocabulary: Vocabulary, form: Form, sampling: Sampling
) -> Generator[TextPiece | CodeGroup | Answer, None, None]:
    """Stream the answer to a prompt; the last event is the `Answer`. After a failure it goes on from the last
    id.

    Its `obedience` is of the ids that were drawn. Raises RemoteError, and SetupError if the key, the address
    or the server itself is wrong.
    """
    writer = Writer(prompt, vocabulary, form, sampling)
    tries = _Tries(server)
    held = False
    while not writer.ended:
        held |= writer.closing
        allowed = writer.allowed() if held else None
        so_far = [*prompt.tolist(), *writer.ids]
        own = replace(sampling, seed=sampling.seed + len(writer.ids))
        left = 1 if held else sampling.max_tokens - len(writer.ids)
        try:
            with closing(server.ids(so_far, own, left, allowed)) as ids:
                for id in ids:
                    tries.succeeded()
                    taken = writer.offer(id, free=not held)
                    if taken:
                        yield from writer.pieces(id)
                    elif not server.can_be_held or (allowed is not None and id not in allowed):
                        raise _broken(server, id, len(writer.ids), vocabulary)
                    held = not taken
                    if held or writer.closing or writer.ended:
                        break
        except RetryableError as failed:
            tries.failed(failed)
        except RemoteError:
            raise
        except DataError as refused:
            raise RemoteError(refused.code, refused.message) from None
    yield writer.answer()


class _Tries:
    """Waits after a failure, longer after each one; without success in between there is a last one."""

    def __init__(self, server: CompletionServer) -> None:
        self._config: EndpointConfig = server.config
        self._address = server.address
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, error: RetryableError) -> None:
        """Raises RemoteError after the last try."""
        self._failures += 1
        if self._failures > self._config.retries:
            tries = "1 try" if self._failures == 1 else f"{self._failures} tries"
            raise RemoteError(error.code, f"{self._address} {error} ({tries})") from None
        backoff = self._config.backoff * 2 ** (self._failures - 1) * random.uniform(0.5, 1)
        time.sleep(backoff if error.wait is None else error.wait)


def _broken(server: CompletionServer, id: int, position: int, vocabulary: Vocabulary) -> RemoteError:
    specials = {getattr(vocabulary, special): name for special, name in SPECIALS.items()}
    if vocabulary.modality(id) != Modality.TEXT:
        name = f"<audio_{id - vocabulary.linguistic}>"
    else:
        name = specials.get(id) or repr(vocabulary.decode([id]))
    remedy = (
        "although the server was asked for one that may"
        if server.can_be_held
        else "and the server can't be told which may: it takes neither allowed_token_ids nor logit_bias"
    )
    return RemoteError(
        "grammar",
        f"{server.address}: token {id} ({name}) may not follow at position {position} of the answer, "
        f"{remedy}",
    )
