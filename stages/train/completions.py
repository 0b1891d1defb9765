"""A model that runs elsewhere, behind `/v1/completions`: token ids in, token ids out.

vLLM and SGLang return ids where `return_token_ids` asks for them. To what may follow, vLLM is held by
`allowed_token_ids`, SGLang by `logit_bias`.
"""

import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Literal

import numpy as np

from schemas.errors import DataError, SetupError
from stages.connection import ApiKey, Connection, RetryableError
from stages.endpoint import EndpointConfig
from stages.train.sampling import Sampling
from stages.train.spelling import Numbers

Hold = Literal["allowed_token_ids", "logit_bias"]
"""The field of a request that holds a server to some ids."""
HOLDS: tuple[Hold, ...] = ("allowed_token_ids", "logit_bias")
BIAS = 100
"""Of the ids that may follow; the most that OpenAI's API takes."""


class CompletionServer:
    """Thread-safe. What the server supports is tried when it is opened."""

    def __init__(self, config: EndpointConfig, key: ApiKey, end: int, other: int) -> None:
        """`config.model` may be empty: the first that the server names. `end` is the id that ends an answer,
        and `other` any other that the model has.

        Raises SetupError for a server that can't be reached, rejects the key, doesn't have the model, or
        doesn't return ids.
        """
        self.config = config
        self._connection = Connection(config.url, config.model, key, config.timeout)
        self._end = end
        self._hold: Hold | None = None
        try:
            served = self._served()
            self.model = str(served["id"])
            length = served.get("max_model_len")
            self.context = length if isinstance(length, int) else None
            """Most ids of a prompt with its answer; None if the server doesn't say."""
            self._first(None)
            self._hold = next((hold for hold in HOLDS if self._holds(hold, other)), None)
        except RetryableError as error:
            raise SetupError(f"{self.address} {error}: is the model served there?") from None
        except DataError as error:
            raise SetupError(error.message) from None

    @property
    def address(self) -> str:
        return self._connection.address("/completions")

    @property
    def can_be_held(self) -> bool:
        """Whether a request can name the ids that may follow."""
        return self._hold is not None

    def ids(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        max_tokens: int,
        allowed: Numbers | None = None,
    ) -> Generator[int, None, None]:
        """Stream the ids after a prompt, until the one that ends an answer or `max_tokens`; `allowed` are
        those that may follow.

        Raises RetryableError, also for a stream that ends in the middle, and the errors of `Connection.post`.
        """
        body = {
            "model": self.model,
            "prompt": list(prompt),
            "max_tokens": max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            # The folder may have other defaults.
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "stop_token_ids": [self._end],
            "skip_special_tokens": False,
            "return_token_ids": True,
            "stream": True,
        }
        if allowed is not None and self._hold == "allowed_token_ids":
            body["allowed_token_ids"] = allowed.tolist()
        elif allowed is not None and self._hold == "logit_bias":
            body["logit_bias"] = {str(id): BIAS for id in allowed.tolist()}
        last: int | None = None
        with closing(self._connection.post("/completions", json.dumps(body).encode())) as pieces:
            for choice in _choices(pieces):
                for id in self._ids_of(choice):
                    yield (last := id)
                finish = choice.get("finish_reason")
                if finish == "stop" and last != self._end:
                    yield self._end  # a server may leave out what it stopped at
                elif finish and last is None:
                    raise RetryableError("bad_reply", "ended its reply without a token", billed=True)
                if finish:
                    return
        raise RetryableError("unreachable", "stopped in the middle of an answer", billed=True)

    def _first(self, allowed: Numbers | None) -> int:
        """The id after a prompt of one."""
        with closing(self.ids([self._end], Sampling(temperature=0), 1, allowed)) as ids:
            return next(ids)

    def _holds(self, hold: Hold, id: int) -> bool:
        self._hold = hold
        try:
            return self._first(np.array([id])) == id
        except DataError:
            return False  # it refuses the field

    def _served(self) -> dict[str, Any]:
        """What the server says about the model."""
        wanted = self.config.model
        try:
            models = json.loads(self._connection.get("/models"))["data"]
            named = {str(model["id"]): model for model in models}
        except (ValueError, KeyError, TypeError):
            named = {}
        if not named:
            raise SetupError(f"{self._connection.address('/models')} names no model: is it OpenAI's API?")
        if wanted and wanted not in named:
            raise SetupError(f"{self.address} serves {', '.join(named)}, not {wanted}")
        served: dict[str, Any] = named[wanted or next(iter(named))]
        return served

    def _ids_of(self, choice: dict[str, Any]) -> list[int]:
        ids = choice.get("token_ids")
        if ids is None and (choice.get("text") or choice.get("finish_reason")):
            raise SetupError(
                f"{self.address} returns no token ids: serve the model with a vLLM or SGLang that knows "
                "`return_token_ids`"
            )
        if not all(isinstance(id, int) and id >= 0 for id in ids or ()):
            raise RetryableError("bad_reply", "sent token ids that are none", billed=True)
        return list(ids or ())


def _choices(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The first choice of each server-sent event."""
    for line in _lines(pieces):
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or data == b"[DONE]":
            continue
        try:
            event = json.loads(data)
            error, choices = event.get("error"), event.get("choices") or []
            choice = choices[0] if choices else {}
            if not isinstance(choice, dict):
                raise TypeError
        except (ValueError, AttributeError, TypeError, KeyError):
            raise RetryableError("bad_reply", "sent an event that is no completion", billed=True) from None
        if error:
            raise RetryableError("server_error", f"reports an error: {str(error)[:200]}", billed=True)
        yield choice


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The complete lines."""
    rest = b""
    for piece in pieces:
        *complete, rest = (rest + piece).split(b"\n")
        yield from complete
