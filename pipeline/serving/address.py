"""The address that a server listens on."""

import socket

from schemas.errors import SetupError


def bind(host: str, port: int) -> socket.socket:
    """A bound socket, so that an address in use is reported before anything is loaded.

    Port 0 takes any free port. Raises SetupError if it can't be bound.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise SetupError(f"can't listen on {host}:{port}: {error.strerror or error}") from None
    return bound


def url_of(host: str, bound: socket.socket) -> str:
    """The URL of a server on a host's bound socket."""
    return f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
