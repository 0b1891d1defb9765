"""The endpoints: chat completions, models, health, metrics, and a page to talk to the model."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.inference.latency import Latency
from pipeline.serving.api_keys import ApiKeys
from pipeline.serving.metrics import ServerMetrics
from pipeline.serving.model import VOICES, ServedModel
from pipeline.serving.page import HEADERS, page_and_policy
from pipeline.serving.reply import Reply
from pipeline.serving.request import RequestError, parse
from pipeline.serving.worker import RETRY_SECONDS, GenerationJob, Worker, log_failure

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

LOG = logging.getLogger("aqaa_data.serve")
CLIENT_GONE = 499
"""Status of a request whose client has disconnected; nobody receives it."""

Result = TypeVar("Result")


def create_app(model: ServedModel, worker: Worker, keys: ApiKeys) -> "FastAPI":
    from fastapi import Depends, FastAPI, Request, Response
    from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
    from starlette.background import BackgroundTask
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    # FastAPI's documentation pages would load scripts from other hosts.
    app = FastAPI(openapi_url=None)
    page, policy = page_and_policy("pipeline.serving")
    metrics = ServerMetrics(worker)

    async def with_key(request: Request) -> None:
        keys.check(request.headers.get("authorization"))

    @app.get("/")
    async def talk() -> Response:
        headers = {"Content-Security-Policy": policy, "Permissions-Policy": "microphone=(self)"}
        return HTMLResponse(page, headers=headers | HEADERS)

    @app.get("/health")
    async def health() -> Response:
        status = "ok" if worker.alive else "the model's thread has ended"
        busy = worker.running > 0
        state = {"status": status, "model": model.name, "busy": busy, "waiting": worker.waiting}
        return JSONResponse(state, 200 if worker.alive else 503)

    @app.get("/metrics", dependencies=[Depends(with_key)])
    async def measured() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models", dependencies=[Depends(with_key)])
    async def models() -> Response:
        about = {"id": model.name, "object": "model", "created": model.created, "owned_by": "aqaa-data"}
        return JSONResponse({"object": "list", "data": [about | {"voices": VOICES}]})

    @app.post("/v1/chat/completions", dependencies=[Depends(with_key)])
    async def complete(request: Request) -> Response:
        body = parse(await _body(request, model.limits.megabytes))
        if body.model not in (None, model.name):
            raise RequestError(404, f"this server's model is {model.name}", "model", "model_not_found")
        reply = Reply(body, model.name, model.vocabulary)
        job = worker.submit(lambda: model.answer(body, reply.audio_id))
        reader = _JobReader(job, reply, metrics, model)
        try:
            # Errors in the question are reported with their status, before the response starts.
            await _unless_gone(request, reader.start())
            if body.stream:
                on_close = BackgroundTask(job.cancel)
                return StreamingResponse(
                    reader.lines(), media_type="text/event-stream", headers=HEADERS, background=on_close
                )
            await _unless_gone(request, reader.finish())
            return JSONResponse(reply.whole())
        except BaseException:
            job.cancel()
            raise

    @app.exception_handler(RequestError)
    async def refused(request: Request, refusal: RequestError) -> Response:
        LOG.info("refused: %d %s", refusal.status, refusal.code or "")
        metrics.ended(refusal.status)
        retry = {"Retry-After": str(RETRY_SECONDS)}
        headers = {401: {"WWW-Authenticate": "Bearer"}, 429: retry, 503: retry}
        return JSONResponse(refusal.body(), refusal.status, headers=headers.get(refusal.status))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return JSONResponse(RequestError(error.status_code, error.detail).body(), error.status_code)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        LOG.info("the client has disconnected")
        metrics.ended(CLIENT_GONE)
        return Response(status_code=CLIENT_GONE)

    return app


class _JobReader:
    """Reads a job's events into a reply and measures the latency."""

    def __init__(self, job: GenerationJob, reply: Reply, metrics: ServerMetrics, model: ServedModel) -> None:
        self._job, self._reply, self._metrics, self._model = job, reply, metrics, model
        self._latency = Latency()
        self._first: list[dict[str, Any]] = []

    async def start(self) -> None:
        """Wait until the question has been read. Raises RequestError if it is refused."""
        self._first = list(self._reply.take(await anext(self._job)))

    async def finish(self) -> None:
        """Wait for the whole answer."""
        async for _ in self._chunks():
            pass

    async def lines(self) -> AsyncIterator[str]:
        """Server-sent events; an error after the start is sent as an event, too."""
        try:
            async for chunk in self._chunks():
                yield _event(chunk)
            yield "data: [DONE]\n\n"
        except RequestError as refusal:
            self._metrics.ended(refusal.status)
            yield _event(refusal.body())
        except (asyncio.CancelledError, GeneratorExit):
            LOG.info("the answer was cancelled")
            self._metrics.ended(CLIENT_GONE)
            raise

    async def _chunks(self) -> AsyncIterator[dict[str, Any]]:
        for chunk in self._first:
            yield chunk
        async for event in self._job:
            self._latency.record(event)
            for chunk in self._reply.take(event):
                yield chunk
        assert self._reply.prompted is not None
        seconds, tokens = self._reply.prompted.seconds, self._reply.usage["completion_tokens"]
        LOG.info("%.1f s of audio answered in %d tokens; %s", seconds, tokens, self._latency)
        # Only now, since it would take time from the answer.
        self._reply.heard = await self._heard()
        self._metrics.answered(self._reply, self._latency)
        if self._reply.heard is not None:
            yield self._reply.heard_chunk()

    async def _heard(self) -> str | None:
        """What was asked; None also where writing it down fails, since the answer is complete without."""
        try:
            return await asyncio.to_thread(self._model.heard, self._reply.request)
        except Exception as error:
            log_failure("writing down a question", error)
            return None


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _body(request: "Request", megabytes: float) -> bytes:
    """Raises RequestError if it is too large, or not JSON: a form on another site can't send that type."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, "send JSON with the header Content-Type: application/json")
    max_bytes = int(megabytes * 1e6)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > max_bytes:
            raise RequestError(413, f"the body is larger than {megabytes:g} MB", code="request_too_large")
    return bytes(body)


async def _unless_gone(request: "Request", awaitable: Awaitable[Result]) -> Result:
    """Await something, but raise ClientDisconnect as soon as the client is gone."""
    from starlette.requests import ClientDisconnect

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    result = asyncio.ensure_future(awaitable)
    tasks = [result, asyncio.ensure_future(gone())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            raise ClientDisconnect
        return result.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
