"""What a request may say; everything else is refused with the place that is wrong."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

MESSAGES, PARTS = 256, 64
"""Most messages of a request, and parts of a message."""


class RequestError(Exception):
    """Why a request gets no answer, as the API says it. Never quotes what the request holds."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        kinds = {429: "rate_limit_error", 404: "not_found_error"}
        kind = "server_error" if self.status >= 500 else kinds.get(self.status, "invalid_request_error")
        told = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": told}


class _Known(BaseModel):
    """Unknown keys are refused: one that is passed over would be a wish that nobody grants."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputAudio(_Known):
    data: str
    """Base64 of a file of any kind that builds read."""
    format: str | None = None
    """Not looked at: files are told by their content."""


class RequestPart(_Known):
    type: Literal["text", "input_audio"]
    text: str | None = None
    input_audio: InputAudio | None = None

    @model_validator(mode="after")
    def _its_own(self) -> "RequestPart":
        given = {"text": self.text, "input_audio": self.input_audio}
        if [name for name, value in given.items() if value is not None] != [self.type]:
            raise ValueError(f"a part of the type `{self.type}` has `{self.type}`, and nothing else")
        return self


def _parts(content: Any) -> Any:
    """Content is a text, parts, or nothing."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or ()


class AudioId(_Known):
    id: str


class RequestMessage(_Known):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[tuple[RequestPart, ...], BeforeValidator(_parts), Field(max_length=PARTS)] = ()
    audio: AudioId | None = None
    """An earlier answer of this server."""
    name: str | None = None
    refusal: None = None

    @model_validator(mode="after")
    def _something(self) -> "RequestMessage":
        if self.audio is not None and self.role != "assistant":
            raise ValueError("`audio` names an earlier answer: it is of the role assistant")
        said = any((part.text or "").strip() or part.input_audio for part in self.content)
        if not said and self.audio is None:
            raise ValueError("the message is empty")
        if self.role != "user" and any(part.type == "input_audio" for part in self.content):
            raise ValueError("`input_audio` is of the role user")
        return self


class AudioParameters(_Known):
    format: Literal["wav", "pcm16"]
    voice: Any = None
    """Not looked at: the vocoder has one."""


class StreamOptions(_Known):
    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(_Known):
    messages: Annotated[tuple[RequestMessage, ...], Field(min_length=1, max_length=MESSAGES)]
    model: str | None = None
    modalities: tuple[Literal["text", "audio"], ...] = ("text",)
    audio: AudioParameters | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    n: Literal[1] | None = None
    # What changes nothing in an answer, and clients send.
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    metadata: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    store: Any = None
    user: Any = None

    @model_validator(mode="after")
    def _together(self) -> "ChatRequest":
        if self.messages[-1].role != "user":
            raise ValueError("the last of `messages` is the question: its role is user")
        if any(message.role in ("system", "developer") for message in self.messages[1:]):
            raise ValueError("only the first of `messages` may be the system's")
        if "text" not in self.modalities:
            raise ValueError('`modalities` are ["text"] or ["text", "audio"]')
        if self.audio is not None and not self.speaks:
            raise ValueError('`audio` goes with `modalities` ["text", "audio"]')
        if self.stream and self.audio is not None and self.audio.format != "pcm16":
            raise ValueError("a stream's `audio.format` is pcm16")
        return self

    @property
    def speaks(self) -> bool:
        return "audio" in self.modalities

    @property
    def format(self) -> str:
        """`wav`, or `pcm16` at 24 kHz."""
        if self.audio is not None:
            return self.audio.format
        return "pcm16" if self.stream else "wav"

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


def parse(body: bytes) -> ChatRequest:
    """Raises RequestError with the first thing that is wrong."""
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        at = json_path(*first["loc"])
        if first["type"] == "json_invalid":
            raise RequestError(400, f"the body is no JSON: {first['msg']}") from None
        if first["type"] == "extra_forbidden":
            raise RequestError(400, f"{at} is not supported", at, "unsupported_parameter") from None
        said = first["msg"].removeprefix("Value error, ")
        raise RequestError(400, f"{at}: {said}" if at else said, at or None, "invalid_value") from None


def json_path(*path: str | int) -> str:
    """`messages[0].content[1].type`"""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")
