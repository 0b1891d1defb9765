"""Pages in one file: their text, headers that let a browser run nothing else, and their server."""

import base64
import hashlib
import re
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI, Request

MAX_CONNECTIONS = 64
SHUTDOWN_SECONDS = 5

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
"""Of every response that holds content of users."""


def page_and_policy(package: str) -> tuple[str, str]:
    """`page.html` of a package, and a Content-Security-Policy that allows only the script and style in it."""
    page = files(package).joinpath("page.html").read_text(encoding="utf-8")

    def allowed(tag: str) -> str:
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    return page, (
        f"default-src 'none'; script-src {allowed('script')}; style-src {allowed('style')}; "
        "connect-src 'self'; media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def page_server(app: "FastAPI") -> "uvicorn.Server":
    """A server of a page that some people use at once."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


def bearer_token(request: "Request") -> str:
    """The token that a request brings; empty without one."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else ""
