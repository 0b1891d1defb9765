"""Data sets on the hub of Hugging Face, `hf://datasets/<owner>/<name>[@<revision>]/..`, which are only read.

The hub's API lists them; the bytes come by range from where it serves its files. A slash in a revision is
written `%2F`. `HF_TOKEN` gives access to what is private or gated, `HF_ENDPOINT` names another hub.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from obstore.store import HTTPStore

from schemas.errors import SetupError

if TYPE_CHECKING:
    from huggingface_hub import HfApi, RepoFile
    from obstore.store import ClientConfig, RetryConfig

SCHEME = "hf"


@dataclass(frozen=True)
class HubFile:
    path: str
    """Below the prefix of the hub's URI."""
    bytes: int
    tag: str
    """Hash of the content."""


class Hub:
    """The files below a prefix of a data set."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        kind, _, path = uri.removeprefix(f"{SCHEME}://").partition("/")
        owner, _, rest = path.partition("/")
        named, _, self._folder = rest.partition("/")
        name, _, revision = named.partition("@")
        self._repository = f"{owner}/{name}" if kind == "datasets" and owner and name else None
        self._revision = unquote(revision) or "main"

    def connect(self, request: "ClientConfig", retry: "RetryConfig") -> HTTPStore:
        """A store of the files' bytes."""
        revision = quote(self._revision, safe="")  # a branch may have a slash
        path = f"{self._repository}/resolve/{revision}/{quote(self._folder)}".rstrip("/")
        options: ClientConfig = {**request, "allow_http": _endpoint().startswith("http://")}
        if token := _token():
            options["default_headers"] = {"Authorization": f"Bearer {token}"}
        return HTTPStore.from_url(
            f"{_endpoint()}/datasets/{path}", client_options=options, retry_config=retry
        )

    def list(self, prefix: str = "") -> Iterator[HubFile]:
        """The files in a folder below the prefix, page by page. Raises SetupError if they can't be listed."""
        from huggingface_hub import RepoFile

        if not self._repository:
            raise SetupError(
                f"can't read {self._uri}: of a hub, data sets are read: hf://datasets/OWNER/NAME, "
                "hf://datasets/OWNER/NAME@REVISION or a folder or file in it"
            )
        with suppress(FileNotFoundError), self._explained():
            entries = self._api().list_repo_tree(
                self._repository,
                self._inside(prefix.rstrip("/")) or None,
                recursive=True,
                revision=self._revision,
                repo_type="dataset",
            )
            yield from (self._file(entry) for entry in entries if isinstance(entry, RepoFile))

    def head(self, path: str) -> HubFile:
        """A file below the prefix. Raises FileNotFoundError."""
        from huggingface_hub import RepoFile

        if not self._repository or not path:
            raise FileNotFoundError(self._uri)
        with self._explained():
            found = self._api().get_paths_info(
                self._repository, [self._inside(path)], revision=self._revision, repo_type="dataset"
            )
        for entry in found:
            if isinstance(entry, RepoFile):
                return self._file(entry)
        raise FileNotFoundError(f"{self._uri}/{path}")

    def _api(self) -> "HfApi":
        from huggingface_hub import HfApi

        return HfApi(endpoint=_endpoint(), token=_token() or False)

    def _inside(self, path: str) -> str:
        return "/".join(part for part in (self._folder, path) if part)

    def _file(self, entry: "RepoFile") -> HubFile:
        below = f"{self._folder}/" if self._folder else ""
        tag = entry.lfs.sha256 if entry.lfs else entry.blob_id
        return HubFile(entry.path.removeprefix(below), entry.size, tag)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Tell what the hub refuses, and what to do."""
        from httpx2 import HTTPError  # of huggingface_hub
        from huggingface_hub import errors

        try:
            yield
        except errors.OfflineModeIsEnabled as error:
            raise SetupError(
                f"can't read {self._uri}: HF_HUB_OFFLINE is set: unset it, or copy the data set to a bucket"
            ) from error
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise SetupError(
                f"can't read {self._uri}: there is no data set {self._repository} with the revision "
                f"{self._revision}, or it is private: check the name, and that HF_TOKEN may read it"
            ) from error
        except errors.EntryNotFoundError as error:
            raise FileNotFoundError(self._uri) from error
        except HTTPError as error:
            reason = str(error).strip().split("\n", 1)[0][:300]
            raise SetupError(f"can't read {self._uri}: {reason}") from error


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()
