"""Personal data is recognised in its usual written forms; other numbers are not."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.select import personal

SENTENCES = ("{}", "Call me on {}, please.", "It's {}!", "Open 24/7 {} ({})", "我的电话是{}。")

FORMS = (
    # International; N is a digit from 2 to 9
    *("+49 30 N00000", "+49 (0)30 N00000", "+49 171 N000000", "+44 20 N000 0000", "+44 (0)20 N000 0000"),
    *("+44N000000000", "+1 (N00) N00-0000", "+1-N00-N00-0000", "+1N00N000000", "+86 138 0000 0000"),
    *("+86-10-N000-0000", "+33 1 N0 00 00 00", "0049 30 N00000", "011 44 20 N000 0000", "+4930N00000"),
    # North America
    *("(N00) N00-0000", "(N00)N00-0000", "N00-N00-0000", "N00.N00.0000", "N00 N00 0000", "1-N00-N00-0000"),
    # United Kingdom
    *("020 N000 0000", "(020) N000 0000", "07N00 N00000", "0161 N00 0000", "01632N00000"),
    # Germany
    *("030 N00000", "030/N00000", "(030) N00000", "0171 N000000", "0171-N000000", "089 / N00 000 00"),
    # China
    *("13N00000000", "138-0000-0000", "158 0000 0000", "010-N0000000", "010 N000 0000", "0755-N0000000"),
    *("400-N00-0000", "(010) N000 0000"),
    # Others
    *("0N.00.00.00.00", "6N0 00 00 00", "(11) 9N000-0000", "03-N000-0000"),
)
"""Written forms of phone numbers; zeros after the prefix stand for random digits."""
PREFIXES = ("+49 (0)30", "+49 30", "+44 (0)20", "+44 20", "0049 30", "011 44 20", "+86-10", "+4930")
PREFIXES += ("(020)", "020", "07", "0161", "01632", "030", "(030)", "0171", "089", "010", "(010)", "0755")
PREFIXES += ("+86 138", "138", "158", "13", "400", "0", "+49 171", "+1", "+33 1", "+44", "03", "6")


@given(data=st.data(), form=st.sampled_from(FORMS), sentence=st.sampled_from(SENTENCES))
def test_phone_numbers_are_recognised_in_all_usual_forms(data, form, sentence):
    prefix = max((prefix for prefix in PREFIXES if form.startswith(prefix)), key=len, default="")
    rest = form.removeprefix(prefix)
    digits = {"N": st.sampled_from("23456789"), "0": st.sampled_from("123456789")}
    number = prefix + "".join(data.draw(digits[c]) if c in digits else c for c in rest)
    assert personal(sentence.format(number, number)) == "a phone number"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to anna.b@example.co.uk, please.", "an e-mail address"),
        ("The card is 4111 1111 1111 1111.", "a card number"),
        ("5500-0000-0000-0004", "a card number"),
        ("3782 822463 10005", "a card number"),
        ("It's (555) 123-4567.", "a phone number"),
        ("Call 555-1234 now", "a phone number"),
        ("My number is 2125550123", "a phone number"),
        ("我的电话是１３８ ００１３ ８０００", "a phone number"),
        ("She was born in 1984, her number is 212-555-0123", "a phone number"),
    ],
)
def test_personal_data_is_recognised(text, kind):
    assert personal(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        # Years and dates
        *(
            "in 2019 2020 2021",
            "2019, 2020 and 2021",
            "1998 1999 2000 2001",
            "2018-2019-2020",
            "1999/2000/2001",
        ),
        *("1914-1918 1939-1945", "(2019) 2020 2021 2022", "On 2024-01-15 at 10:30", "2024-01-15 2024-01-16"),
        *("01.02.2024 10:30", "15/01/2024 16/01/2024", "01-02-2024 03-04-2024", "2024-01-15 10 30 00"),
        # Prices and counts
        *(
            "It costs 1,250,000 euros.",
            "1 250 000 000",
            "12 500 000 000 people",
            "1.250.000.000",
            "1250000000",
        ),
        *("EUR 500-1000", "$325-1275", "12 045 678 901", "15000000000 stars", "1234567890", "1700000000"),
        *("pi is 3.14159265358", "0.123456789", "+250 000 000 euros"),
        # Scores
        *("They won 3-2", "6-4 3-6 7-5", "21-19 21-17 15-21", "98-102, then 110-99"),
        # Other numbers
        *(
            "Flight 4711, gate 12",
            "ISBN 978-3-16-148410-0",
            "192.168.100.200",
            "10 20 30 40 50 60",
            "me at home",
        ),
    ],
)
def test_other_numbers_are_not_personal_data(text):
    assert personal(text) is None


YEARS = st.integers(1900, 2099).map(str)
DATES = st.dates(date(1900, 1, 1)).map(date.isoformat)
PRICES = st.integers(0, 10**12).map(lambda cents: f"{cents / 100:,.2f}")
SCORES = st.tuples(st.integers(0, 130), st.integers(0, 130)).map(lambda score: f"{score[0]}-{score[1]}")


@given(
    st.one_of(
        st.tuples(st.lists(kind, max_size=6), st.sampled_from([" ", ", ", " and ", "; "]))
        for kind in (YEARS, DATES, PRICES, SCORES)
    )
)
def test_lists_of_years_dates_prices_and_scores_are_not_personal_data(drawn):
    numbers, separator = drawn
    assert personal(f"They were {separator.join(numbers)}.") is None


@given(count=st.integers(0, 10**15))
def test_counts_with_thousands_separators_are_not_personal_data(count):
    for separator in (",", ".", " "):
        assert personal(f"{count:,} of them".replace(",", separator)) is None
