"""The page of raters, and what it asks the server for. Every request but the page itself needs a token."""

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pipeline.rating.access import Access
from pipeline.rating.session import LONGEST_REASON, RatingSession, Verdict
from pipeline.rating.tasks import AUDIO_TYPES
from pipeline.serving.page import HEADERS, bearer_token, page_and_policy, page_server
from schemas.errors import DataError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI, Request

LOG = logging.getLogger("aqaa_data.rate")
_BODY_BYTES = 8 * LONGEST_REASON


class RatingRequestError(Exception):
    """A request that is answered with a status and a sentence for the rater."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def create_rating_app(session: RatingSession, access: Access) -> "FastAPI":
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException

    # FastAPI's documentation pages would load scripts from other hosts.
    app = FastAPI(openapi_url=None)
    page, policy = page_and_policy("pipeline.rating")

    def rater_of(request: Request) -> str:
        rater = access.rater(bearer_token(request))
        if rater is None:
            raise RatingRequestError(HTTPStatus.UNAUTHORIZED, "this link is not valid: ask for a new one")
        return rater

    @app.get("/")
    async def show() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy} | HEADERS)

    @app.get("/api/state")
    def state(request: Request) -> Response:
        if access.is_overview(bearer_token(request)):
            return JSONResponse({"mode": "overview", **session.overview()}, headers=HEADERS)
        return JSONResponse(session.state(rater_of(request)), headers=HEADERS)

    @app.get("/api/tasks/{id}")
    def task(request: Request, id: str) -> Response:
        rater = rater_of(request)
        try:
            return JSONResponse(session.shown(rater, id), headers=HEADERS)
        except KeyError:
            raise _unknown_task() from None

    @app.get("/api/tasks/{id}/audio/{part}")
    def audio(request: Request, id: str, part: str) -> Response:
        rater = rater_of(request)
        try:
            path = session.audio(rater, id, part)
        except KeyError:
            raise _unknown_task() from None
        if path is None:
            LOG.warning("the audio of a task is no longer there")
            raise RatingRequestError(HTTPStatus.NOT_FOUND, "the audio is not there any more")
        return FileResponse(path, media_type=AUDIO_TYPES[path.suffix.lower()], headers=HEADERS)

    @app.put("/api/tasks/{id}")
    async def save(request: Request, id: str) -> Response:
        rater = rater_of(request)
        verdict = _verdict(await _body(request))
        try:
            await run_in_threadpool(session.save, rater, id, verdict)
        except KeyError:
            raise _unknown_task() from None
        except DataError as error:
            raise RatingRequestError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        except OSError as error:
            LOG.error("a rating of %s could not be written: %s", rater, error.strerror or error)
            message = "the rating could not be saved: tell whoever sent you the link, and try again"
            raise RatingRequestError(HTTPStatus.INSUFFICIENT_STORAGE, message) from None
        return JSONResponse(session.state(rater), headers=HEADERS)

    @app.exception_handler(RatingRequestError)
    async def refused(request: Request, refusal: RatingRequestError) -> Response:
        return JSONResponse({"error": refusal.message}, refusal.status, headers=HEADERS)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, headers=HEADERS)

    return app


def create_rating_server(session: RatingSession, access: Access) -> "uvicorn.Server":
    return page_server(create_rating_app(session, access))


def _unknown_task() -> RatingRequestError:
    return RatingRequestError(HTTPStatus.NOT_FOUND, "there is no such task: reload the page")


async def _body(request: "Request") -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _BODY_BYTES:
            raise RatingRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the reason is too long")
    return bytes(body)


def _verdict(body: bytes) -> Verdict:
    try:
        return Verdict.model_validate_json(body)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RatingRequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"{where or 'the rating'}: {first['msg']}"
        ) from None
