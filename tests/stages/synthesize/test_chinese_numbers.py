"""Numbers in Chinese text are read as a speaker would read them."""

import pytest

from stages.synthesize.chinese_numbers import read_numbers


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0", "零"),
        ("10", "十"),
        ("15", "十五"),
        ("110", "一百一十"),
        ("305", "三百零五"),
        ("1001", "一千零一"),
        ("10010", "一万零一十"),
        ("100005", "十万零五"),
        ("20,000,000", "两千万"),
        ("300000001", "三亿零一"),
        ("1,234.05", "一千二百三十四点零五"),
    ],
)
def test_whole_and_decimal_numbers(written, read):
    assert read_numbers(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("下午3:05开始", "下午三点零五分开始"),
        ("2:00出发", "两点出发"),
        ("2024年有366天", "二零二四年有三百六十六天"),
        ("涨了12.5%", "涨了百分之十二点五"),
        ("买2个苹果", "买两个苹果"),
        ("2月2号", "二月二号"),
        ("12个人", "十二个人"),
        ("10~15个人", "十到十五个人"),
        ("今天-5度", "今天负五度"),
        ("价格是¥30", "价格是三十元"),
        ("电话是13812345678。", "电话是一三八一二三四五六七八。"),
        ("拨打010-65529988", "拨打零一零六五五二九九八八"),
    ],
)
def test_times_dates_prices_and_phone_numbers(written, read):
    assert read_numbers(written) == read


def test_text_without_digits_stays_as_it_is():
    assert read_numbers("你好，world-wide！") == "你好，world-wide！"
