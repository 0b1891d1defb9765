"""The server: the endpoints on a socket, and the model's thread behind them."""

from socket import socket
from types import FrameType
from typing import TYPE_CHECKING

from pipeline.serving.app import create_app
from pipeline.serving.model import ServedModel
from pipeline.serving.worker import Worker

if TYPE_CHECKING:
    import uvicorn

CONNECTIONS = 64
"""More at once are refused: each may hold a body in memory."""
SECONDS_TO_END = 5
"""For what is being answered when the server is stopped, to say so."""


def create_server(model: ServedModel, waiting: int) -> "uvicorn.Server":
    """Runs until it is told to exit, by a signal or `handle_exit`; `waiting` requests may wait for one."""
    import uvicorn

    worker = Worker(waiting)

    class ModelServer(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            worker.close()
            super().handle_exit(sig, frame)

        def run(self, sockets: list[socket] | None = None) -> None:
            try:
                super().run(sockets)
            finally:
                worker.close()
                worker.join(SECONDS_TO_END)

    return ModelServer(
        uvicorn.Config(
            create_app(model, worker),
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=SECONDS_TO_END,
        )
    )
