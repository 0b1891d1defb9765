"""The script of a text."""

import pytest

from schemas.script import script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Happy birthday, 你", "Latin"),
        ("好一朵茉莉花", "Chinese characters"),
        ("美しい花が咲く", "Japanese"),
        ("아름다운 꽃", "Korean"),
        ("Красная роза", "Cyrillic"),
        ("1, 2!", None),
        ("", None),
    ],
)
def test_it_is_that_of_most_letters_and_kana_make_it_japanese(text, script):
    assert script_of(text) == script
