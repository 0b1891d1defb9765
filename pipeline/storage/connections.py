"""Connections to buckets: credentials, retries, and error messages for users."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any, cast

from obstore.exceptions import BaseError, GenericError, PermissionDeniedError, UnauthenticatedError
from obstore.store import GCSStore, S3Store

from pipeline.storage.hub import SCHEME as HUB
from pipeline.storage.hub import Hub
from pipeline.storage.uri import uri_parts, without_secrets
from schemas.errors import SetupError, StoreUnreachableError

_REQUEST = {"timeout": "5m", "connect_timeout": "10s"}
"""A whole shard is uploaded in one request; a request that takes longer is retried."""

_RETRY = {
    "max_retries": 10,
    "retry_timeout": timedelta(minutes=4),
    # Each wait is drawn from up to 3 times the last: about 20 seconds in total before an error is raised.
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 3},
}
"""After throttling, server errors and lost connections."""

_CREDENTIALS = {
    "s3": "AWS_PROFILE, keys or role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or account",
    HUB: "HF_TOKEN",
}


@lru_cache(maxsize=256)
def open_connection(uri: str, environment: tuple[tuple[str, str], ...]) -> Any:
    """A store with its open connections; credentials are looked up once per environment."""
    scheme, bucket, prefix = uri_parts(uri)
    options: dict[str, Any] = {"prefix": prefix or None, "retry_config": _RETRY}
    if scheme == HUB:
        return Hub(uri).connect(cast(Any, _REQUEST), cast(Any, _RETRY))
    if scheme == "gs":
        return GCSStore(bucket, client_options=cast(Any, _REQUEST), **options)
    return S3Store(bucket, **_s3_options(environment), **options)


@lru_cache(maxsize=8)
def s3_client(environment: tuple[tuple[str, str], ...]) -> Any:
    """A boto3 client, for what obstore can't do, with the same credentials and endpoint."""
    from boto3 import Session
    from botocore import UNSIGNED
    from botocore.config import Config

    options = _s3_options(environment)
    config = Config(signature_version=UNSIGNED) if options.get("skip_signature") else None
    return Session().client(
        "s3", region_name=options["region"], endpoint_url=options.get("endpoint"), config=config
    )


@lru_cache(maxsize=8)
def _s3_options(environment: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Credentials, region and endpoint as boto3 finds them: environment, profile, role, web identity."""
    from boto3 import Session
    from botocore.exceptions import BotoCoreError
    from botocore.session import get_session
    from obstore.auth.boto3 import Boto3CredentialProvider

    botocore = get_session()
    try:
        session = Session(botocore_session=botocore)
        credentials = session.get_credentials()
        configured = botocore.get_scoped_config().get("endpoint_url")
    except BotoCoreError as error:
        raise SetupError(f"no credentials for s3://: {error}") from error
    variables = dict(environment)
    endpoint = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL") or configured
    request = _REQUEST | {"allow_http": bool(endpoint and endpoint.startswith("http://"))}
    options: dict[str, Any] = {"region": session.region_name or "us-east-1", "client_options": request}
    if endpoint:
        options["endpoint"] = endpoint
    if credentials is None:
        options["skip_signature"] = True
    else:
        options["credential_provider"] = Boto3CredentialProvider(session)
    return options


@contextmanager
def explain_errors(uri: str) -> Iterator[None]:
    """Turn storage errors into SetupError with a message for users, without the library's debug output."""
    try:
        yield
    except (BaseError, OSError) as error:
        text = str(error)
        code = re.search(r"<Code>(\w+)</Code>", text)
        named = f" ({code[1]})" if code else ""
        scheme, bucket, _ = uri_parts(uri)
        if "NoSuchBucket" in text:
            raise SetupError(f"can't use {uri}: there is no bucket {bucket}") from error
        if isinstance(error, FileNotFoundError):
            raise
        if scheme == HUB and _refused(error):
            raise SetupError(
                f"can't use {uri}: access is refused: check that HF_TOKEN may read it"
            ) from error
        if "No space left" in text:
            raise SetupError(
                f"no space left on the disk of {uri}: free some space and run the command again"
            ) from error
        if _refused(error):
            raise SetupError(
                f"can't use {uri}: access to the bucket {bucket} is refused{named}. Check that the "
                f"credentials in use ({_CREDENTIALS[scheme]}) are the right ones, haven't expired, and can "
                "list, read and write there. Committed work is kept; run the same command again to resume"
                if bucket
                else f"can't use {uri}: permission denied"
            ) from error
        reason = without_secrets(text.split("\n", 1)[0])[:300]
        kind = StoreUnreachableError if _no_answer(error) else SetupError
        raise kind(f"can't use {uri}: {reason}{named}") from error


def _refused(error: Exception) -> bool:
    kinds = (PermissionDeniedError, UnauthenticatedError, PermissionError)
    return isinstance(error, kinds) or any(
        mark in str(error) for mark in ("403 Forbidden", "401 Unauthorized", "<Code>ExpiredToken")
    )


def _no_answer(error: Exception) -> bool:
    """Whether there is no connection, or none that serves requests."""
    return isinstance(error, GenericError) and bool(
        re.search(r"HTTP error|status(?: code:)? 50\d", str(error))
    )


def connection_lost(error: GenericError) -> bool:
    """Whether the connection was lost, and obstore didn't already use up its own retries."""
    return "HTTP error" in str(error) and f"after {_RETRY['max_retries']} retries" not in str(error)
