"""Names of dialects."""

DIALECTS = {
    "cantonese": ("cantonese", "yue", "guangdong", "粤", "粵", "广东", "廣東"),
    "sichuanese": ("sichuan", "szechuan", "四川", "川渝"),
    "shanghainese": ("shanghai", "上海"),
    "hokkien": ("hokkien", "minnan", "min nan", "闽南", "閩南"),
    "mandarin": ("mandarin", "putonghua", "普通话", "普通話", "國語", "国语"),
}
"""Dialect -> how names of it begin in sidecars and in the labels of public models."""


def dialect_of(label: str) -> str:
    """The dialect that a label names; a name that isn't known is its own."""
    name = label.rpartition("/")[2].strip().lower()
    return next((dialect for dialect, begins in DIALECTS.items() if name.startswith(begins)), name)
