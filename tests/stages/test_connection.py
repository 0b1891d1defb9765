"""The key of a server."""

import pytest

from schemas.errors import SetupError
from stages.connection import ApiKey


def test_a_key_is_never_shown():
    assert "secret" not in repr(ApiKey("$KEY", "secret"))


def test_a_key_file_has_one_key(tmp_path):
    file = tmp_path / "key"
    file.write_text("abc\n")
    assert ApiKey.of_file(file).value == "abc"
    for content in ("", "two keys", "one\ntwo"):
        file.write_text(content)
        with pytest.raises(SetupError, match="must have one line"):
            ApiKey.of_file(file)
    with pytest.raises(SetupError, match="No such file"):
        ApiKey.of_file(tmp_path / "none")
