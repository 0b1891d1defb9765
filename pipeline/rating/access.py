"""Who may rate: the raters' names and secret tokens, and a token of whoever watches them."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.errors import SetupError

SHORTEST_TOKEN = 16
"""Characters."""
LONGEST_NAME = 64


class Access:
    """Tokens of raters, and of the overview. Only their hashes are kept."""

    def __init__(self, raters: Mapping[str, str], overview: str) -> None:
        """`raters` maps names to tokens."""
        self.raters = tuple(raters)
        self._names = {_hash(token): name for name, token in raters.items()}
        self._overview = _hash(overview)

    def rater(self, token: str) -> str | None:
        """The rater whose token it is."""
        return self._names.get(_hash(token))

    def is_overview(self, token: str) -> bool:
        return _hash(token) == self._overview


def _hash(token: str) -> str:
    # Comparing hashes takes a time that says nothing about a token.
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def new_token() -> str:
    return secrets.token_urlsafe(16)


def new_tokens(names: Sequence[str]) -> dict[str, str]:
    """Name -> token. Raises SetupError for a name that can't be used, or is given twice."""
    for name in names:
        _check_name(name, "--rater")
    if len(set(names)) < len(names):
        raise SetupError("--rater names somebody twice")
    return {name: new_token() for name in names}


def read_raters(file: Path) -> dict[str, str]:
    """Name -> token, from lines of `name token`; empty lines and those that start with # are skipped.

    Raises SetupError, which shows neither a token nor a name: a line may have them the wrong way round.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"can't read {file}: {error}") from None
    raters: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{file}:{number}"
        name, _, token = line.strip().rpartition(" ")
        name, token = name.strip(), token.strip()
        if not name:
            raise SetupError(f"{where}: a line is a rater's name, a space, and a token")
        _check_name(name, where)
        if len(token) < SHORTEST_TOKEN:
            raise SetupError(
                f"{where}: the token is shorter than {SHORTEST_TOKEN} characters, so it can be guessed: use "
                "16 random bytes in base64, after the name"
            )
        if name in raters or token in raters.values():
            raise SetupError(f"{where}: the name or the token stands in a line before")
        raters[name] = token
    if not raters:
        raise SetupError(f"{file} names no rater: a line is a name, a space, and a token")
    return raters


def _check_name(name: str, where: str) -> None:
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise SetupError(f"{where}: a rater's name has 1 to {LONGEST_NAME} printable characters")
