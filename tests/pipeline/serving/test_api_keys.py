"""Who may send requests."""

import pytest

from pipeline.serving.api_keys import ApiKeys
from pipeline.serving.model import Limits, ServedModel
from pipeline.serving.request import RequestError
from schemas.errors import SetupError
from tests.pipeline.tiny_server import serving

HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}


@pytest.fixture
def keys(tmp_path):
    (tmp_path / "keys").write_text("# Anna\nanna-1\n\n ben-2 \n#old-3\n")
    return ApiKeys.read(tmp_path / "keys")


def test_without_a_key_only_the_page_and_the_health_are_shown(keys, answerer, answer_vocoder):
    model = ServedModel("tiny", answerer, answer_vocoder, Limits(60, 10, 1))
    with serving(model, keys=keys) as client:
        assert [client.get(path)[0] for path in ("/", "/health")] == [200, 200]
        assert [client.get(path)[0] for path in ("/v1/models", "/metrics")] == [401, 401]
        status, reply, headers = client.post(HELLO)
        assert (status, reply["error"]["code"]) == (401, "invalid_api_key")
        assert headers["WWW-Authenticate"] == "Bearer"
        client.headers = {"Authorization": "Bearer ben-2"}
        assert client.ask(**HELLO)
        assert client.get("/v1/models")[0] == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "anna-1",
        "Bearer",
        "Bearer ben",
        "Bearer ben-22",
        "Basic anna-1",
        "Bearer \xe9",
        "Bearer #",
        "Bearer #old-3",
    ],
)
def test_what_is_no_key(keys, header):
    with pytest.raises(RequestError, match="Authorization: Bearer KEY"):
        keys.check(header)


def test_each_line_is_a_key_and_without_a_file_none_is_needed(keys):
    for header in ("Bearer anna-1", "bearer ben-2"):
        keys.check(header)
    ApiKeys().check(None)


def test_no_word_beside_a_key_becomes_a_key(tmp_path):
    (tmp_path / "keys").write_text("ben-2\nanna anna-1\n")
    with pytest.raises(SetupError, match="keys:2: the line is more than a key") as refused:
        ApiKeys.read(tmp_path / "keys")
    assert "anna" not in str(refused.value)


def test_a_key_that_no_header_can_carry_is_refused(tmp_path):
    (tmp_path / "keys").write_text("ben-2\nj\u00f6rg-1\n", encoding="utf-8")
    with pytest.raises(SetupError, match="keys:2: a header can't carry this key"):
        ApiKeys.read(tmp_path / "keys")


def test_the_mark_that_some_editors_begin_a_file_with_is_no_part_of_a_key(tmp_path):
    (tmp_path / "keys").write_text("ben-2\n", encoding="utf-8-sig")
    ApiKeys.read(tmp_path / "keys").check("Bearer ben-2")


def test_a_file_without_keys_is_refused(tmp_path):
    (tmp_path / "empty").write_text("\n# none yet\n")
    with pytest.raises(SetupError, match="has no key"):
        ApiKeys.read(tmp_path / "empty")
    with pytest.raises(SetupError, match="can't be read as a file of keys: No such file"):
        ApiKeys.read(tmp_path / "none")
