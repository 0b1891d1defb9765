"""The page, and what it asks the server for. Turns are named by keys that are looked up: no path is taken."""

import hashlib
import ipaddress
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Literal, TypeVar

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from pipeline.browsing.audio import TurnAudio, piece
from pipeline.browsing.filters import BROWSED, CATEGORIES, LIMIT_COLUMNS, MovedThreshold, Order, TurnFilter
from pipeline.browsing.marks import MarksFile
from pipeline.browsing.query import Row, TurnTable
from pipeline.browsing.tokens import SpokenTokens
from pipeline.report.sample_parts import stored_parts
from pipeline.serving.page import HEADERS, bearer_token, page_and_policy, page_server
from pipeline.storage import dataset_layout as layout
from pipeline.versions.provenance import select_of
from pipeline.versions.reader import Version, batches
from schemas.errors import DataError, SetupError
from schemas.sample import turns_in
from stages.select import LIMITS, TurnCorrection

LOG = logging.getLogger("aqaa_data.browse")
PAGE_ROWS = 50
AROUND = 400
"""Turns of a recording in its strip, at most: those nearest to the one that is heard."""
_BODY_BYTES = 10_000

Asked = TypeVar("Asked", bound=BaseModel)


@dataclass(frozen=True)
class OpenVersion:
    """A version with its turns in memory."""

    version: Version
    turns: TurnTable
    audio: TurnAudio
    tokens: SpokenTokens


class MarkRequest(BaseModel):
    """A mark for a turn; None removes it."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=0)
    key: str
    mark: Literal["good", "bad", "wrong_speaker"] | None


class CorrectionRequest(BaseModel):
    """What a person heard in a turn; what is as it was annotated is no correction."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=0)
    key: str
    corrected: TurnCorrection

    def of(self, turn: Row) -> TurnCorrection | None:
        """What differs from the turn as it was annotated; None if nothing does."""
        before = turn.get("corrected_from") or {}
        heard = self.corrected.model_dump()
        wrong = {name: value for name, value in heard.items() if value != (before.get(name) or turn[name])}
        return TurnCorrection(**wrong) if wrong else None


class BrowseRequestError(Exception):
    """A request that is answered with a status and a sentence for the reader."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def create_browse_app(
    versions: Sequence[OpenVersion], marks: MarksFile | None = None, token: str | None = None
) -> FastAPI:
    """With a token every request but the page itself needs it. Without, only this machine is answered."""
    # FastAPI's documentation pages would load scripts from other hosts.
    app = FastAPI(openapi_url=None)
    page, policy = page_and_policy("pipeline.browsing")
    tables = [one.turns for one in versions]

    @app.middleware("http")
    async def check(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if token is None and not is_local(_host(request)):
            # Another site may have had its name point here, to read through the reader's browser.
            return JSONResponse(
                {"error": "this page is for this machine"}, HTTPStatus.FORBIDDEN, headers=HEADERS
            )
        if token is not None and request.url.path != "/" and not _has(request, token):
            error = "this link is not valid: take the one that the command printed"
            return JSONResponse({"error": error}, HTTPStatus.UNAUTHORIZED, headers=HEADERS)
        return await answer(request)

    def at(number: int) -> OpenVersion:
        if not 0 <= number < len(versions):
            raise _unknown("version")
        return versions[number]

    def wanted_of(filter: str) -> TurnFilter:
        wanted = _parsed(TurnFilter, filter or "{}")
        if wanted.comparison:
            at(wanted.comparison.with_version)
        return wanted

    def turn_of(number: int, key: str) -> Row:
        turn = at(number).turns.turn(key)
        if turn is None:
            raise _unknown("turn")
        return turn

    def marked(rows: list[Row]) -> list[Row]:
        known = [marks.of(row) if marks else None for row in rows]
        return [
            row
            | {
                "mark": one.mark if one else None,
                "corrected": one.corrected.model_dump() if one and one.corrected else None,
            }
            for row, one in zip(rows, known, strict=True)
        ]

    @app.get("/")
    async def show() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy} | HEADERS)

    @app.get("/api/state")
    def state() -> Response:
        return JSONResponse(
            {
                "versions": [_about(one) for one in versions],
                "measures": [asdict(measure) for measure in BROWSED.values()],
                "categories": CATEGORIES,
                "limits": {
                    name: {"column": LIMIT_COLUMNS[name], "what": what}
                    for name, (_, what, _) in LIMITS.items()
                },
                "marks": None if marks is None else marks.number,
                "page": PAGE_ROWS,
            },
            headers=HEADERS,
        )

    @app.get("/api/versions/{number}/turns")
    def turns(number: int, filter: str = "", order: str = "", offset: int = 0) -> Response:
        wanted, table = wanted_of(filter), at(number).turns
        rows = table.rows(wanted, _parsed(Order, order or "{}"), max(0, offset), PAGE_ROWS, tables)
        return JSONResponse({**asdict(table.count(wanted, tables)), "rows": marked(rows)}, headers=HEADERS)

    @app.get("/api/versions/{number}/charts")
    def charts(number: int, filter: str = "") -> Response:
        return JSONResponse(asdict(at(number).turns.charts(wanted_of(filter), tables)), headers=HEADERS)

    @app.get("/api/versions/{number}/moved")
    def moved(number: int, threshold: str) -> Response:
        table, asked = at(number).turns, _parsed(MovedThreshold, threshold)
        sides = {side: asdict(amount) for side, amount in table.moved(asked).items()}
        return JSONResponse(sides | {"span": table.span(asked.limit)}, headers=HEADERS)

    @app.get("/api/versions/{number}/turns/{key}")
    def turn(number: int, key: str) -> Response:
        row = turn_of(number, key)
        around = at(number).turns.of_recording(row["recording"], row["start"], AROUND)
        (row,) = marked([row])
        return JSONResponse({"turn": row, "around": around}, headers=HEADERS)

    @app.get("/api/versions/{number}/turns/{key}/audio")
    def audio(request: Request, number: int, key: str) -> Response:
        row = turn_of(number, key)
        try:
            start, content = at(number).audio.clip(row["recording"], row["track"], row["start"], row["end"])
        except DataError as error:
            message = f"the recording can't be read: {error}"
            raise BrowseRequestError(HTTPStatus.NOT_FOUND, message) from None
        headers = HEADERS | {"X-Clip-Start": f"{start:.6f}", "Accept-Ranges": "bytes"}
        try:
            asked = piece(content, request.headers.get("range"))
        except ValueError:
            headers["Content-Range"] = f"bytes */{len(content)}"
            return Response(status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
        if asked is None:
            return Response(content, media_type="audio/wav", headers=headers)
        headers["Content-Range"] = f"bytes {asked[0]}-{asked[1] - 1}/{len(content)}"
        return Response(
            content[slice(*asked)], HTTPStatus.PARTIAL_CONTENT, media_type="audio/wav", headers=headers
        )

    @app.get("/api/versions/{number}/turns/{key}/tokens")
    def tokens(number: int, key: str) -> Response:
        row = turn_of(number, key)
        try:
            content = at(number).tokens.wav(row["recording"], row["index"])
        except (DataError, SetupError) as error:
            message = f"its tokens can't be spoken: {error}"
            raise BrowseRequestError(HTTPStatus.NOT_FOUND, message) from None
        return Response(content, media_type="audio/wav", headers=HEADERS)

    @app.get("/api/versions/{number}/turns/{key}/samples")
    def samples(number: int, key: str) -> Response:
        try:
            found = _samples(at(number).version, turn_of(number, key))
        except (FileNotFoundError, KeyError) as error:
            LOG.warning("a sample could not be read: %r", error)
            message = "the version's shards lack it: run `aqaa-data versions verify`"
            raise BrowseRequestError(HTTPStatus.NOT_FOUND, message) from None
        return JSONResponse({"samples": found}, headers=HEADERS)

    async def save(asked: MarkRequest | CorrectionRequest, kept: MarksFile) -> Response:
        row = await run_in_threadpool(turn_of, asked.version, asked.key)
        if not row["end"] > row["start"]:
            raise BrowseRequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "a turn without length can't be marked")
        known = kept.of(row)
        mark, corrected = (known.mark, known.corrected) if known else (None, None)
        if isinstance(asked, MarkRequest):
            mark = asked.mark
        else:
            corrected = asked.of(row)
            if corrected and not row["text"] and (corrected.text or corrected.language):
                message = "a turn without text can't be given one here: write a companion for the recording"
                raise BrowseRequestError(HTTPStatus.UNPROCESSABLE_ENTITY, message)
            if corrected and corrected.speaker and mark == "wrong_speaker":
                mark = None  # the speaker is right now
        try:
            await run_in_threadpool(kept.save, row, mark, corrected, versions[asked.version].version.id)
        except OSError as error:
            LOG.error("a mark could not be written: %s", error.strerror or error)
            raise BrowseRequestError(
                HTTPStatus.INSUFFICIENT_STORAGE, f"the mark is not saved: {error}"
            ) from None
        (row,) = marked([row])
        told = {"marks": kept.number, "mark": row["mark"], "corrected": row["corrected"]}
        return JSONResponse(told, headers=HEADERS)

    async def asked_to_write(request: Request, what: type[Asked]) -> tuple[Asked, MarksFile]:
        if marks is None:
            raise BrowseRequestError(
                HTTPStatus.FORBIDDEN, "marks are not kept: start the command with --marks FILE"
            )
        if request.headers.get("content-type") != "application/json":  # what another site's form can't send
            raise BrowseRequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a mark is JSON")
        return _parsed(what, await _body(request)), marks

    @app.put("/api/marks")
    async def mark(request: Request) -> Response:
        return await save(*await asked_to_write(request, MarkRequest))

    @app.put("/api/corrections")
    async def correct(request: Request) -> Response:
        return await save(*await asked_to_write(request, CorrectionRequest))

    @app.exception_handler(BrowseRequestError)
    async def refused(request: Request, refusal: BrowseRequestError) -> Response:
        return JSONResponse({"error": refusal.message}, refusal.status, headers=HEADERS)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, headers=HEADERS)

    return app


def create_browse_server(
    versions: Sequence[OpenVersion], marks: MarksFile | None = None, token: str | None = None
) -> uvicorn.Server:
    return page_server(create_browse_app(versions, marks, token))


def _host(request: Request) -> str:
    host = request.headers.get("host", "")
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _has(request: Request, token: str) -> bool:
    # Comparing hashes takes a time that says nothing about the token.
    given = bearer_token(request)
    hashes = (hashlib.sha256(text.encode(errors="replace")).digest() for text in (given, token))
    return secrets.compare_digest(*hashes)


def _about(one: OpenVersion) -> dict[str, Any]:
    manifest, select = one.version.manifest, select_of(one.version.manifest)
    return {
        "dataset": manifest.dataset,
        "id": one.version.id,
        **asdict(one.turns.whole),
        "limits": {name: getattr(select, name) for name in LIMITS},
    }


def _samples(version: Version, turn: Row) -> list[dict[str, Any]]:
    """The samples that use a turn, with their parts: prompt and target."""
    import pyarrow.dataset as ds  # slow, and not needed to open the page

    if not version.manifest.files:
        return []  # it isn't packed yet
    parts_of = stored_parts(version.store, layout.version(version.id))
    with version.table("index") as index:
        of_recording = ds.field("recording") == turn["recording"]
        rows = [row for batch in batches(index, where=of_recording) for row in batch.to_pylist()]
    used_in = sorted(
        (row for row in rows if turn["index"] in turns_in(row["key"])), key=lambda row: row["key"]
    )
    return [row | {"parts": [asdict(part) for part in parts_of(row)]} for row in used_in]


def _unknown(what: str) -> BrowseRequestError:
    return BrowseRequestError(HTTPStatus.NOT_FOUND, f"there is no such {what} in what is open")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _BODY_BYTES:
            raise BrowseRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the mark is too long")
    return bytes(body)


def _parsed(model: type[Asked], text: str | bytes) -> Asked:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = f"{where or 'the request'}: {first['msg']}"
        raise BrowseRequestError(HTTPStatus.UNPROCESSABLE_ENTITY, message) from None
