"""The HTTP server: the endpoints and the thread of the model."""

from socket import socket
from types import FrameType
from typing import TYPE_CHECKING

from pipeline.serving.api_keys import ApiKeys
from pipeline.serving.app import create_app
from pipeline.serving.model import ServedModel
from pipeline.serving.worker import Worker
from schemas.errors import SetupError

if TYPE_CHECKING:
    import uvicorn

SPARE_CONNECTIONS = 64
"""Besides those of requests that are answered or wait. Further ones are refused, since each may hold a
request body in memory."""
SHUTDOWN_SECONDS = 5
"""Time for answers in progress to report that the server is being stopped."""


def create_server(model: ServedModel, max_queue: int, keys: ApiKeys | None = None) -> "uvicorn.Server":
    """A server that runs until a signal or `handle_exit`; up to `max_queue` requests may wait. Its `run`
    raises SetupError if it stops because the model has failed for good."""
    import uvicorn

    worker = Worker(model.rows, max_queue, model.step)

    class ModelServer(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            worker.close()
            super().handle_exit(sig, frame)

        async def on_tick(self, counter: int) -> bool:
            """Called ten times a second. True: stop."""
            return await super().on_tick(counter) or model.failure is not None

        def run(self, sockets: list[socket] | None = None) -> None:
            try:
                super().run(sockets)
            finally:
                worker.close()
                worker.join(SHUTDOWN_SECONDS)
            if model.failure and not self.should_exit:
                raise SetupError(model.failure)

    return ModelServer(
        uvicorn.Config(
            create_app(model, worker, keys or ApiKeys()),
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=SPARE_CONNECTIONS + model.rows + max_queue,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )
