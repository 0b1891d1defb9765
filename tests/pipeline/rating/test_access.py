"""Raters and their tokens."""

import pytest

from pipeline.rating.access import Access, new_tokens, read_raters
from schemas.errors import SetupError

TOKEN = "0123456789abcdef"


def test_a_token_names_its_rater_and_no_other():
    access = Access({"anna": TOKEN, "ben": TOKEN[::-1]}, "overview-" + TOKEN)
    assert [access.rater(token) for token in (TOKEN, TOKEN[::-1], TOKEN[1:], "", "overview-" + TOKEN)] == [
        "anna",
        "ben",
        None,
        None,
        None,
    ]
    assert access.is_overview("overview-" + TOKEN)
    assert not access.is_overview(TOKEN)
    assert TOKEN not in str(vars(access))


def test_new_tokens_differ_and_are_long():
    tokens = new_tokens(["anna", "Ben Müller"])
    assert list(tokens) == ["anna", "Ben Müller"]
    assert len({*tokens.values(), *new_tokens(["anna"]).values()}) == 3
    assert min(map(len, tokens.values())) >= 20


def test_a_file_of_raters(tmp_path):
    file = tmp_path / "raters.txt"
    file.write_text(f"# ours\n\nanna {TOKEN}\n  Ben Müller   {TOKEN[::-1]} \n")
    assert read_raters(file) == {"anna": TOKEN, "Ben Müller": TOKEN[::-1]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f"anna {TOKEN[1:]}", r"raters.txt:1: the token is shorter than 16"),
        (f"\n{TOKEN}", r"raters.txt:2: a line is a rater's name, a space, and a token"),
        (f"anna {TOKEN}\nanna {TOKEN[::-1]}", r"raters.txt:2: the name or the token stands in a line before"),
        (f"anna {TOKEN}\nben {TOKEN}", r"raters.txt:2: the name or the token stands"),
        (f"{TOKEN} anna", r"raters.txt:1: the token is shorter than 16"),
        (f"{TOKEN} anna-anna-anna-anna\n{TOKEN} ben-ben-ben-ben-ben", r"raters.txt:2: the name or the token"),
        (f"a\x07b {TOKEN}", "1 to 64 printable characters"),
        ("# nobody\n", "names no rater"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_without_its_tokens(tmp_path, content, says):
    file = tmp_path / "raters.txt"
    file.write_text(content)
    with pytest.raises(SetupError, match=says) as told:
        read_raters(file)
    assert TOKEN[1:] not in str(told.value)


def test_a_missing_file_and_doubled_names_are_told(tmp_path):
    with pytest.raises(SetupError, match="can't read"):
        read_raters(tmp_path / "gone.txt")
    with pytest.raises(SetupError, match="names somebody twice"):
        new_tokens(["anna", "anna"])
    with pytest.raises(SetupError, match="printable"):
        new_tokens([" "])
