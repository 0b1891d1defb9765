"""The schema of a request; anything else is refused with the JSON path of the error.

Clients send fields that they don't use as null, or with the value that changes nothing: both count as absent.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

Neutral = dict[str, tuple[Any, ...]]
MAX_MESSAGES, MAX_PARTS = 256, 64
"""Messages of a request, parts of a message."""


class RequestError(Exception):
    """Why a request is refused, in the form of the API. Never quotes the content of the request."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        kinds = {401: "authentication_error", 429: "rate_limit_error", 404: "not_found_error"}
        kind = "server_error" if self.status >= 500 else kinds.get(self.status, "invalid_request_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


class _Strict(BaseModel):
    """Refuses unknown keys: to ignore one would silently not do what the client requested."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    neutral: ClassVar[Neutral] = {}
    """Field of the API that is not supported -> its values, besides null, that change nothing."""

    @model_validator(mode="before")
    @classmethod
    def _without_neutral(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        known = cls.model_fields.keys() | cls.neutral.keys()
        return {
            name: value
            for name, value in fields.items()
            if not (name in known and value is None) and value not in cls.neutral.get(name, ())
        }


class InputAudio(_Strict):
    data: str
    """Base64 of an audio file in any format that builds accept; also URL-safe, or a `data:` URI."""
    format: str | None = None
    """Ignored: the format is detected from the content."""


class RequestPart(_Strict):
    type: Literal["text", "input_audio"]
    text: str | None = None
    input_audio: InputAudio | None = None
    neutral: ClassVar[Neutral] = {"file": (), "image_url": (), "prompt_cache_breakpoint": (), "refusal": ()}

    @model_validator(mode="after")
    def _content_matches_type(self) -> "RequestPart":
        given = {"text": self.text, "input_audio": self.input_audio}
        if [name for name, value in given.items() if value is not None] != [self.type]:
            raise ValueError(f"a part of type `{self.type}` must have `{self.type}` and nothing else")
        return self


def _parts(content: Any) -> Any:
    """Content is a string, a list of parts, or missing."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or ()


class EarlierAudio(_Strict):
    """Refers to an earlier answer of this server, by its id or as the whole that the server sent."""

    id: str
    transcript: str | None = None
    """Its text, which is used once the id has expired."""
    data: Any = None
    expires_at: Any = None


class RequestMessage(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[tuple[RequestPart, ...], BeforeValidator(_parts), Field(max_length=MAX_PARTS)] = ()
    audio: EarlierAudio | None = None
    name: str | None = None
    neutral: ClassVar[Neutral] = {
        "annotations": ([],),
        "function_call": (),
        "refusal": (),
        "tool_calls": ([],),
    }

    @model_validator(mode="after")
    def _not_empty(self) -> "RequestMessage":
        if self.audio is not None and self.role != "assistant":
            raise ValueError("`audio` refers to an earlier answer, so its role must be assistant")
        if not self.has_content and self.audio is None:
            raise ValueError("the message is empty")
        if self.role != "user" and any(part.type == "input_audio" for part in self.content):
            raise ValueError("`input_audio` is only allowed for the role user")
        return self

    @property
    def has_content(self) -> bool:
        return any((part.text or "").strip() or part.input_audio for part in self.content)


class AudioParameters(_Strict):
    format: Literal["wav", "pcm16"]
    voice: Any = None
    """Ignored: the vocoder has a single voice."""


class StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(_Strict):
    messages: Annotated[tuple[RequestMessage, ...], Field(min_length=1, max_length=MAX_MESSAGES)]
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
    # Accepted because clients send them; they don't change the answer.
    metadata: Any = None
    prompt_cache_key: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    store: Any = None
    user: Any = None
    neutral: ClassVar[Neutral] = {
        "frequency_penalty": (0,),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "logit_bias": ({},),
        "logprobs": (False,),
        "moderation": (),
        "parallel_tool_calls": (True, False),
        "prediction": (),
        "presence_penalty": (0,),
        "reasoning_effort": ("none",),
        "response_format": ({"type": "text"},),
        "stop": ([],),
        "tool_choice": ("none", "auto"),
        "tools": ([],),
        "top_logprobs": (0,),
        "verbosity": ("medium",),
        "web_search_options": (),
    }

    @model_validator(mode="after")
    def _consistent(self) -> "ChatRequest":
        if self.messages[-1].role != "user":
            raise ValueError("the last of `messages` is the question, so its role must be user")
        if any(message.role in ("system", "developer") for message in self.messages[1:]):
            raise ValueError("only the first of `messages` may have the role system or developer")
        if "text" not in self.modalities:
            raise ValueError('`modalities` must be ["text"] or ["text", "audio"]')
        if self.audio is not None and not self.speaks:
            raise ValueError('`audio` requires `modalities` ["text", "audio"]')
        if self.stream and self.audio is not None and self.audio.format != "pcm16":
            raise ValueError("`audio.format` must be pcm16 when streaming")
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
    def token_limit(self) -> int | None:
        """The smaller one of both fields."""
        return min(filter(None, (self.max_completion_tokens, self.max_tokens)), default=None)


def parse(body: bytes) -> ChatRequest:
    """Raises RequestError with the first error in the body."""
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = json_path(*first["loc"])
        if first["type"] == "json_invalid":
            raise RequestError(400, f"the body is not valid JSON: {first['msg']}") from None
        if first["type"] == "extra_forbidden":
            raise RequestError(400, f"{path} is not supported", path, "unsupported_parameter") from None
        message = first["msg"].removeprefix("Value error, ")
        if path:
            message = f"{path}: {message}"
        raise RequestError(400, message, path or None, "invalid_value") from None


def json_path(*path: str | int) -> str:
    """Such as `messages[0].content[1].type`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")
